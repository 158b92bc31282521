"""`supernet search`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, Suppress, arg

from supernet.cli.parsing import Arguments, allow_own_modules, derived, option, parse, peek
from supernet.errors import UserError

if TYPE_CHECKING:
    from supernet.searching.config import SearchConfig
    from supernet.searching.forecast import Forecast


def search(given: Arguments) -> None:
    """Search for an architecture."""
    from supernet.report import console, progress
    from supernet.searching import forecast, plan
    from supernet.searching import search as searching

    allow_own_modules()
    start, resumed = _start(given), peek(given, "config", None) is not None
    call = vars(parse("search", _arguments(start, peek(given, "protocol", "small"), resumed=resumed), given))
    planned = plan.plan(_configured(start, call))
    if call["dry_run"]:
        _print_forecast(planned.running, forecast.foresee(planned))
        return
    watcher = progress.watcher(quiet=call["quiet"])
    again = {name: call[name] for name in ("force", "resume_anyway")}
    run = searching.start(planned, out=call["out"], watcher=watcher, **again)
    console.result(console.Console(), run)


def _start(given: Arguments) -> SearchConfig:
    """Return the configuration that the flags start from: a protocol's and a method's, or that of --config's run."""
    from supernet.engine.folder import flat
    from supernet.searching.config import configured

    saved = _saved(peek(given, "config", None))
    method = peek(given, "method", saved.get("method", "single-darts"))
    if method != saved.get("method"):
        saved = {name: value for name, value in saved.items() if name not in ("method_config", "selector", "select")}
    selector = peek(given, "selector", saved.get("selector"))
    if selector != saved.get("selector"):
        saved.pop("select", None)
    if saved and peek(given, "space", saved["space"]) != saved["space"]:
        del saved["target_width"], saved["target_depth"]
    start = configured(peek(given, "protocol", "small"), **saved | {"method": method, "selector": selector})
    there = flat(saved)
    if lacking := [name for name in flat(start.to_dict()) if name.split(".")[0] in saved and name not in there]:
        raise UserError(f"--config '{peek(given, 'config', None)}': its config.yaml is damaged, without {lacking[0]}")
    return start


def _saved(file: str | None) -> dict[str, Any]:
    """Return the arguments of `configured` that a run folder holds, none without a folder."""
    if file is None:
        return {}
    from pathlib import Path

    from supernet.engine.run import Run
    from supernet.searching.config import saved

    path = Path(file)
    run = Run(path.parent if path.name == "config.yaml" else path)
    if run.task != "search":
        raise UserError(f"--config '{file}': no such run folder, or no config.yaml of a run in it")
    return saved(run)


def _arguments(start: SearchConfig, protocol: str, *, resumed: bool) -> Any:
    """Return the typed arguments of `search` with their defaults: the fields of SearchCall and of two configs.

    Fields that take objects in Python take text here.
    """
    import tyro

    from supernet.methods import METHODS
    from supernet.searching.config import PROTOCOLS, SearchCall
    from supernet.selectors import SELECTORS
    from supernet.settings import values_of
    from supernet.spaces import SPACES

    sources = "digits (embedded), an .npz file, a folder of class folders or IDX files"
    own = "or your own as module:"
    types = {
        "data": option(Positional[str], sources, metavar="DATA"),
        "space": option(str, f"search space: {', '.join(SPACES)}, {own}NAME"),
        "method": option(str, f"method: {', '.join(METHODS)}, {own}Class"),
        "selector": option(str, f"selector: {', '.join(SELECTORS)}, {own}Class"),
        "method_config": Annotated[type(start.method_config), arg(name="")],
        "select": type(start.select),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "max_params": option(str | None, "parameters the network may have at most, as 300k or 1.5M", metavar="N"),
        "max_flops": option(str | None, "multiply-adds for one image it may have at most, as 25M", metavar="N"),
        "graphs": option(bool, "record steps and replay them (CUDA graphs); the default on a GPU, where possible"),
        "no_graphs": option(bool, "never record steps"),
        "protocol": option(str, f"protocol that the settings below start from: {', '.join(PROTOCOLS)}"),
        "config": option(str | None, "run folder whose settings to start from instead", metavar="FOLDER"),
        "out": option(str | None, "run folder; None makes a name under runs/", metavar="FOLDER"),
        "dry_run": option(bool, "print a forecast of time and memory, and stop"),
        "watcher": Annotated[None, Suppress],
    }
    values = values_of(start) | {
        "data": start.data if resumed else tyro.MISSING,
        "method": start.method_preset.name,
        "selector": start.selector_preset.name,
        "max_params": start.max_params and str(start.max_params),
        "max_flops": start.max_flops and str(start.max_flops),
        "graphs": False,
        "no_graphs": False,
        "protocol": protocol,
        "config": None,
        "dry_run": False,
    }
    return derived(SearchCall, "Search for an architecture.", types, values)


def _configured(start: SearchConfig, call: Mapping[str, Any]) -> SearchConfig:
    """Return the configuration with the values of the command line."""
    from supernet.settings import amend

    values = {entry.name: call[entry.name] for entry in fields(start)}
    return amend(start, values | {"graphs": False if call["no_graphs"] else call["graphs"] or None})


def _print_forecast(running: str, forecast: Forecast) -> None:
    """Print the time and memory of a search."""
    from supernet.report.console import Console, line
    from supernet.report.text import duration

    console = Console()
    line(console, running)
    line(console, f"memory        {_memory(forecast)}")
    if not math.isnan(forecast.step_seconds):
        one = forecast.steps == 1
        steps = "1 step and the measurement after it" if one else f"{forecast.steps} steps and a measurement"
        line(console, f"step          {duration(forecast.step_seconds)}")
        line(console, f"epoch         {duration(forecast.epoch_seconds)} ({steps})")
        line(console, f"search        {duration(forecast.seconds)} ({forecast.epochs} epochs)")
        if forecast.left_out:
            line(console, f"not counted   {forecast.left_out}")
        if forecast.tuning:
            tuning = f"{duration(forecast.tuning_seconds)} of training ({forecast.tuning} epochs), and the evaluations"
            line(console, f"selection     {tuning}")
    if not forecast.fits:
        line(console, "warning       it will not fit: take a smaller --batch-size, or --checkpointing")


def _memory(forecast: Forecast) -> str:
    from supernet.report.text import size

    if forecast.free_bytes is None:
        return size(forecast.peak_bytes) if forecast.fits else "more than there is"
    free = f"{size(forecast.free_bytes)} that are free"
    failed = math.isnan(forecast.step_seconds) and forecast.peak_bytes <= forecast.free_bytes  # before its peak
    return f"more than the {free}" if failed else f"{size(forecast.peak_bytes)} of {free}"
