"""`supernet retrain`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, Suppress

from supernet.cli.parsing import Arguments, allow_own_modules, derived, option, parse, peek

if TYPE_CHECKING:
    from supernet.engine.run import Run

_WHAT = "folder of a finished search, or an architecture"


def retrain(given: Arguments) -> None:
    """Train one architecture from scratch."""
    from supernet.report import progress
    from supernet.retraining import plan, train
    from supernet.retraining.config import RetrainConfig
    from supernet.settings import amend

    allow_own_modules()
    recipe = peek(given, "recipe", "quick")
    call = vars(parse("retrain", _arguments(recipe), given))
    config = amend(RetrainConfig(call["what"]), {entry.name: call[entry.name] for entry in fields(RetrainConfig)})
    watcher = progress.watcher(quiet=call["quiet"])
    run = train.start(plan.plan(config, recipe), out=call["out"], force=call["force"], watcher=watcher)
    _print_result(run)


def _arguments(recipe: str) -> Any:
    """Return the typed arguments of `retrain` with their defaults: the fields of RetrainCall, by the recipe."""
    import tyro

    from supernet.retraining.config import RetrainCall, configured
    from supernet.retraining.recipes import RECIPES
    from supernet.settings import values_of

    types = {
        "what": option(Positional[str], f"{_WHAT}: in quotes, as a file or an index", metavar="WHAT"),
        "recipe": option(str, f"recipe that the settings below start from: {', '.join(RECIPES)}"),
        "data": option(str | None, "images to train on; None is the search's", metavar="DATA"),
        "space": option(str | None, "space; None is the search's or the architecture's own", metavar="STR"),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "out": option(str | None, "run folder; None is in the search's, or under runs/", metavar="FOLDER"),
        "watcher": Annotated[None, Suppress],
    }
    start = configured("", recipe)
    values = values_of(start) | {"what": tyro.MISSING}
    about = "Train the architecture of a search, or any other, from scratch."
    return derived(RetrainCall, about, types, values | {"recipe": recipe})


def _print_result(run: Run) -> None:
    """Print the accuracies of a finished retraining."""
    from supernet.report.console import Console, line

    console, summary, network_size = Console(), run.summary, run.config["network_size"]
    size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"size          {size} ({network_size['width']} channels, depth {network_size['depth']})")
    best = f"in the best epoch, {summary['best_epoch']}"
    if summary["measured_on"] == "validation":
        line(console, f"validation    {_accuracies(summary['accuracy'], best)}")
    else:
        best += ", which these images chose"
    if summary["test_accuracy"] is not None:
        line(console, f"test          {_accuracies(summary['test_accuracy'], best)}")
    line(console, f"run folder    {run.path} (training.svg, metrics.jsonl; {summary['seconds']:.0f} s)")


def _accuracies(accuracy: dict[str, float], best: str) -> str:
    return f"{100 * accuracy['last']:.2f} % after the last epoch, {100 * accuracy['best']:.2f} % {best}"
