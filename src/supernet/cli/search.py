"""`supernet search`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.after import show_line, show_next
from supernet.cli.launch import NONE, OPTIONS, check_processes, launched
from supernet.cli.parsing import HIDDEN, Arguments, derived, import_own, option, parse, peek
from supernet.errors import UserError
from supernet.registry import recorded

if TYPE_CHECKING:
    from supernet.engine.driving import Driving
    from supernet.report.console import Console
    from supernet.searching.config import SearchConfig
    from supernet.searching.forecast import Forecast

_OF_IMAGES = ("images", "image_size", "stream", "pad", "mirror")  # a run has them as its own images led to them


def search(given: Arguments) -> None:
    """Search for an architecture."""
    from supernet.engine.driving import agreed, driving, going_on
    from supernet.engine.process_group import joined
    from supernet.report import console
    from supernet.searching import forecast, plan
    from supernet.searching.front_points import drawn
    from supernet.searching.search import start as run_search

    import_own(given)
    start, call, told = _parsed(given)
    how, table, shown = driving(call), call["table"], console.Console()
    if call["dry_run"]:
        check_processes(given)
        _tell(shown, told, how)
        planned = plan.plan(_configured(start, call))
        for without_effect in planned.idle:
            console.line(shown, without_effect)
        foreseen = forecast.foresee(planned)
        _print_forecast(shown, planned.reading, planned.running, foreseen)
        if foreseen.fits and not how.quiet:
            show_line(shown, shlex.join(["search", *(word for word in given if word != "--dry-run")]))
        return
    if launched("search", given):
        return
    with joined() as first:
        if first:
            _tell(shown, told, how)
        _, planned = agreed(lambda: (how, going_on(partial(plan.plan, _configured(start, call)), how)))
        run = run_search(planned, how, table=table, front=call["front"])
    if not first:
        return
    console.result(shown, run, table=table)
    if call["front"]:
        console.front(shown, drawn(run))
    if not how.quiet:
        show_next(shown, "search", run.path)


def _tell(shown: Console, told: str, how: Driving) -> None:
    from supernet.report.console import line

    if told and not how.quiet:
        line(shown, told)


def _parsed(given: Arguments) -> tuple[SearchConfig, dict[str, Any], str]:
    """Return the configuration that the flags start from, all arguments, and what of --config's run is left out.

    Raises UserError for a protocol beside a run.
    """
    file, protocol = peek(given, "config", None), peek(given, "protocol", None)
    if file is not None and protocol is not None:
        raise UserError("give --protocol or --config, not both: a run has every setting that a protocol sets")

    def parsed(start: SearchConfig) -> dict[str, Any]:
        arguments = _arguments(start, protocol or "small", resumed=file is not None)
        return dict(vars(parse("search", arguments, given)))

    start = _start(given)
    call = parsed(start)
    without, told = _left_out(given, file, start, call)
    if without:
        start = _start(given, without)
        call = parsed(start)
    return start, call, told


def _left_out(
    given: Arguments, file: str | None, start: SearchConfig, call: Mapping[str, Any]
) -> tuple[Sequence[str], str]:
    """Return the settings of --config's run that are left out, as they follow from its images, and why, in words."""
    from supernet.data import same_source

    if file is None:
        return (), ""
    if not same_source(call["data"], str(start.data)):
        left = f"settings {', '.join(_OF_IMAGES)} of '{file}' are left out"
        return _OF_IMAGES, f"{left}: it was searched on other images, '{start.data}'"
    if call["image_size"] == start.image_size or peek(given, "pad", None) is not None:
        return (), ""
    return ("pad",), f"setting pad of '{file}' is left out: it was searched on images of another size"


def _start(given: Arguments, without: Sequence[str] = ()) -> SearchConfig:
    """Return the configuration that the flags start from: a protocol's and a method's, or that of --config's run.

    `without` names settings that are not taken from the run.
    """
    from supernet.engine.folder import flat
    from supernet.methods import METHODS
    from supernet.searching.config import configured
    from supernet.selectors import SELECTORS
    from supernet.spaces import SPACES

    saved = {name: value for name, value in _saved(peek(given, "config", None)).items() if name not in without}
    method = _chosen(given, "method", METHODS, saved) or "single-darts"
    if method != saved.get("method"):
        saved = {name: value for name, value in saved.items() if name not in ("method_config", "selector", "select")}
    selector = _chosen(given, "selector", SELECTORS, saved)
    if selector != saved.get("selector"):
        saved.pop("select", None)
    if saved and _chosen(given, "space", SPACES, saved) != saved.get("space"):
        saved = {name: value for name, value in saved.items() if name not in ("target_width", "target_depth")}
    start = configured(peek(given, "protocol", "small"), **saved | {"method": method, "selector": selector})
    there = flat(saved)
    if lacking := [name for name in flat(start.to_dict()) if name.split(".")[0] in saved and name not in there]:
        raise UserError(f"--config '{peek(given, 'config', None)}': its config.yaml is damaged, without {lacking[0]}")
    return start


def _chosen(given: Arguments, name: str, known: Container[str], saved: Mapping[str, Any]) -> str | None:
    """Return the --name that the user typed, or a published one from --config's run."""
    typed: str | None = peek(given, name, None)
    return recorded(name, saved[name], known) if typed is None and name in saved else typed


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

    sources = "digits (included), an .npz file, a folder of class folders, shards, IDX or CIFAR files"
    own = "or your own as module:"
    types = {
        "data": option(Positional[str], sources, metavar="DATA"),
        "space": option(str, f"search space: {', '.join(SPACES)}, {own}NAME"),
        "method": option(str, f"method: {', '.join(METHODS)}, {own}Class"),
        "selector": option(str, f"selector: {', '.join(SELECTORS)}, {own}Class"),
        # With a text of their own, however short, the parser does not read the source of all classes for one
        "method_config": Annotated[type(start.method_config), arg(name="", help="")],
        "select": option(type(start.select), ""),
        "w": option(type(start.w), ""),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "max_params": option(str | None, "parameters the network may have at most, as 300k or 1.5M", metavar="N"),
        "max_flops": option(str | None, "multiply-adds for one image it may have at most, as 25M", metavar="N"),
        "target_params": option(str | None, "parameters that the search learns to come down to, as 300k", metavar="N"),
        "target_flops": option(str | None, "multiply-adds that the search learns to come down to, as 25M", metavar="N"),
        "graphs": option(bool, "record steps and replay them (CUDA graphs); the default on a GPU, where possible"),
        "no_graphs": option(bool, "never record steps"),
        "protocol": option(str, f"protocol that the other settings start from: {', '.join(PROTOCOLS)}"),
        "config": option(str | None, "run folder whose settings to start from instead", metavar="FOLDER"),
        "out": option(str | None, "run folder; None makes a name under runs/", metavar="FOLDER"),
        "dry_run": option(bool, "print a forecast of time and memory, and stop"),
        "callbacks": HIDDEN,
        **OPTIONS,
    }
    values = values_of(start) | {
        "data": start.data if resumed else tyro.MISSING,
        "method": start.method_preset.name,
        "selector": start.selector_preset.name,
        "max_params": start.max_params and str(start.max_params),
        "max_flops": start.max_flops and str(start.max_flops),
        "target_params": start.target_params and str(start.target_params),
        "target_flops": start.target_flops and str(start.target_flops),
        "graphs": False,
        "no_graphs": False,
        "protocol": protocol,
        "config": None,
        "dry_run": False,
        "callbacks": (),
        **NONE,
    }
    return derived(SearchCall, "Search for an architecture.", types, values)


def _configured(start: SearchConfig, call: Mapping[str, Any]) -> SearchConfig:
    """Return the configuration with the values of the command line."""
    from supernet.settings import amend

    if call["graphs"] and call["no_graphs"]:
        raise UserError("give --graphs or --no-graphs, not both")
    values = {entry.name: call[entry.name] for entry in fields(start)}
    return amend(start, values | {"graphs": False if call["no_graphs"] else call["graphs"] or None})


def _print_forecast(console: Console, reading: str, running: str, forecast: Forecast) -> None:
    """Print the time and memory of a search."""
    from supernet.report.console import line
    from supernet.report.text import duration, number, size

    line(console, reading)
    line(console, running)
    line(console, f"memory        {_memory(forecast)}")
    if forecast.process_bytes is not None:
        line(console, f"process       {size(forecast.process_bytes)}, with Python, libraries and work space")
    if not math.isnan(forecast.step_seconds):
        one = forecast.steps == 1
        steps = "1 step and the measurement after it" if one else f"{forecast.steps} steps and a measurement"
        line(console, f"step          {duration(forecast.step_seconds)}")
        line(console, f"epoch         {duration(forecast.epoch_seconds)} ({steps})")
        fewer, most = ", or fewer" if forecast.may_stop else "", "at most " if forecast.at_most else ""
        line(console, f"search        {most}{duration(forecast.seconds)} ({number(forecast.epochs, 'epoch')}{fewer})")
        if forecast.left_out:
            line(console, f"not counted   {forecast.left_out}")
        if forecast.tuning:
            tuning = f"{duration(forecast.tuning_seconds)} of training ({number(forecast.tuning, 'epoch')})"
            line(console, f"selection     {tuning}, and the evaluations")
    if not forecast.fits:
        line(console, "warning       it will not fit: take a smaller --batch-size, or --checkpointing")


def _memory(forecast: Forecast) -> str:
    from supernet.report.text import size

    if forecast.free_bytes is None:
        return size(forecast.peak_bytes) if forecast.fits else "more than there is"
    free = f"{size(forecast.free_bytes)} that are free"
    failed = math.isnan(forecast.step_seconds) and forecast.peak_bytes <= forecast.free_bytes  # before its peak
    return f"more than the {free}" if failed else f"{size(forecast.peak_bytes)} of {free}"
