"""`supernet retrain`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from supernet.cli.after import show_next
from supernet.cli.launch import NONE, OPTIONS, launched
from supernet.cli.parsing import HIDDEN, Arguments, derived, import_own, option, parse, peek

if TYPE_CHECKING:
    from supernet.engine.run import Run
    from supernet.report.console import Console

_WHAT = "folder of a finished search, or an architecture: its text in quotes, a file, an index or a name"


def retrain(given: Arguments) -> None:
    """Train one architecture from scratch."""
    from supernet.engine.driving import agreed, driving, going_on
    from supernet.engine.process_group import joined
    from supernet.report.console import Console
    from supernet.retraining import plan, train
    from supernet.retraining.config import RetrainConfig
    from supernet.settings import amend

    import_own(given)
    recipe = peek(given, "recipe", "quick")
    call = vars(parse("retrain", _arguments(recipe), given))
    config = amend(RetrainConfig(call["what"]), {entry.name: call[entry.name] for entry in fields(RetrainConfig)})
    if launched("retrain", given):
        return
    how = driving(call)
    given_sizes = [name for name in ("width", "depth") if peek(given, name, None) is not None]
    with joined() as first:
        _, ready = agreed(lambda: (how, going_on(partial(plan.plan, config, recipe, given_sizes), how)))
        run = train.start(ready, how)
    if not first:
        return
    console = Console()
    _print_result(console, run)
    if not how.quiet:
        show_next(console, "retrain", run.path)


def _arguments(recipe: str) -> Any:
    """Return the typed arguments of `retrain` with their defaults: the fields of RetrainCall, by the recipe."""
    import tyro

    from supernet.retraining.config import RetrainCall, configured
    from supernet.retraining.recipes import RECIPES
    from supernet.settings import values_of

    types = {
        "what": option(Positional[str], _WHAT, metavar="WHAT"),
        "recipe": option(str, f"recipe that the other settings start from: {', '.join(RECIPES)}"),
        "data": option(str | None, "images to train on; None is the search's", metavar="DATA"),
        "space": option(str | None, "space; None is the search's or the architecture's own", metavar="STR"),
        "params": option(str | None, "parameters that the width is chosen for, as 500k", metavar="COUNT"),
        "flops": option(str | None, "FLOPs that the width is chosen for, as 30M", metavar="COUNT"),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "out": option(str | None, "run folder; None is in the search's, or under runs/", metavar="FOLDER"),
        "callbacks": HIDDEN,
        **OPTIONS,
    }
    start = configured("", recipe)
    values = values_of(start) | {"what": tyro.MISSING, "callbacks": ()}
    about = "Train the architecture of a search, or any other, from scratch."
    return derived(RetrainCall, about, types, values | {"recipe": recipe, **NONE})


def _print_result(console: Console, run: Run) -> None:
    """Print the accuracies of a finished retraining."""
    from supernet.engine.glance import size as size_of
    from supernet.report.console import line

    summary, network_size = run.summary, run.config["network_size"]
    size = size_of(summary["params"], summary["flops"])
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"size          {size} ({network_size['width']} channels, depth {network_size['depth']})")
    best = f"in the best epoch, {summary['best_epoch']}"
    if summary["measured_on"] == "validation":
        line(console, f"validation    {_accuracies(summary['accuracy'], best)}")
        _balanced(console, summary.get("balanced_accuracy"))
    else:
        best += ", which these images chose"
    if summary["test_accuracy"] is not None:
        line(console, f"test          {_accuracies(summary['test_accuracy'], best)}")
        _balanced(console, summary.get("test_balanced_accuracy"))
    line(console, f"run folder    {run.path} (report.html, training.svg, metrics.jsonl; {summary['seconds']:.0f} s)")


def _accuracies(accuracy: dict[str, float], best: str) -> str:
    return f"{100 * accuracy['last']:.2f} % after the last epoch, {100 * accuracy['best']:.2f} % {best}"


def _balanced(console: Console, accuracy: dict[str, float] | None) -> None:
    """Print the mean recall of the classes, if they are unequal."""
    from supernet.report.console import line

    if accuracy is not None:
        line(console, f"  balanced    {_accuracies(accuracy, 'in the best epoch: the mean recall of the classes')}")
