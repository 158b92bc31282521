"""`supernet retrain`."""

from __future__ import annotations

from dataclasses import asdict, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, allow_own_modules, option, parse, peek

if TYPE_CHECKING:
    from supernet.engine.run import Run
    from supernet.report.console import Console
    from supernet.retraining.recipes import Recipe

ABOUT = "Train the architecture of a search, or any other, from scratch."


def retrain(given: Arguments) -> None:
    """Train one architecture from scratch."""
    from supernet.report import console as show
    from supernet.report import progress as screen
    from supernet.retraining import plan as retraining_plan
    from supernet.retraining import recipes
    from supernet.retraining import train as training

    allow_own_modules()
    recipe = recipes.recipe(peek(given, "recipe", "quick"))
    chosen = parse("retrain", _arguments(recipe), given)
    plan = retraining_plan.plan(
        chosen.what,
        data=chosen.data,
        space=chosen.space,
        recipe=chosen.recipe,
        seed=chosen.seed,
        device=chosen.device,
        precision=chosen.precision,
        **asdict(chosen.settings),
    )
    run = training.start(plan, out=chosen.out, force=chosen.force, watcher=screen.watcher(quiet=chosen.quiet))
    _result(show.Console(), run)


def _arguments(recipe: Recipe) -> type:
    """Make the typed arguments of `retrain`: its own, and the recipe's fields."""
    from supernet.retraining.recipes import RECIPES

    what = option(Positional[str], "folder of a finished search, or an architecture in quotes", metavar="WHAT")
    fields: list[Any] = [
        ("what", what),
        ("recipe", option(str, f"what the settings below start from: {', '.join(RECIPES)}"), "quick"),
        ("data", option(str | None, "images to train on; None is the search's", metavar="DATA"), None),
        ("space", option(str | None, "space; None is the search's or the architecture's own", metavar="STR"), None),
        ("seed", option(int, "seed of everything drawn"), 0),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("precision", option(str, "auto, float32, tf32 or bf16, while it is trained"), "auto"),
        ("out", option(str | None, "run folder; None is in the search's, or under runs/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a run that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        ("settings", Annotated[type(recipe), arg(name="")], recipe),
    ]
    return make_dataclass("Retrain", fields, namespace={"__doc__": ABOUT})


def _result(console: Console, run: Run) -> None:
    """Print what a finished retraining reached."""
    from supernet.report.console import line

    summary, network_size = run.summary, run.config["network_size"]
    size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"size          {size} ({network_size['width']} channels, depth {network_size['depth']})")
    best = f"in the best epoch, {summary['best_epoch']}"
    if summary["measured_on"] == "held out":
        line(console, f"held out      {_accuracies(summary['accuracy'], best)}")
    else:
        best += ", which these images chose"
    if summary["test_accuracy"] is not None:
        line(console, f"test          {_accuracies(summary['test_accuracy'], best)}")
    line(console, f"run folder    {run.path} (training.svg, metrics.jsonl; {summary['seconds']:.0f} s)")


def _accuracies(found: dict[str, float], best: str) -> str:
    return f"{100 * found['last']:.2f} % after the last epoch, {100 * found['best']:.2f} % {best}"
