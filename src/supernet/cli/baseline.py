"""`supernet baseline`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from supernet.cli.after import show_next
from supernet.cli.parsing import HIDDEN, Arguments, derived, import_own, option, parse, peek
from supernet.errors import UserError

if TYPE_CHECKING:
    from supernet.engine.run import Run
    from supernet.searching.baselines import Asked

_SIZES = ("width", "depth")
_OF_IMAGES = ("image_size", "pad", "mirror", "stem", "reductions")  # only for the same images


def baseline(given: Arguments) -> None:
    """Train what needs no search as the network of a search is trained, and compare them."""
    from supernet.engine.driving import driving
    from supernet.report.console import Console, line
    from supernet.searching.baselines import start

    import_own(given)
    like = peek(given, "like", None)
    trained = _trained(like, peek(given, "recipe", None))
    call = vars(parse("baseline", _arguments(peek(given, "recipe", None), _settings(trained, given)), given))
    console, how = Console(), driving(call)
    asked = _asked(call, given, trained)
    out = Path(how.out) if how.out is not None else _folder(asked)
    text = start(asked, out, how, lambda words: None if how.quiet else line(console, words))
    line(console, f"\n{text}")
    line(console, f"baselines     {out} (table.md, results.json)")
    if not how.quiet:
        show_next(console, "baseline", next(out.glob("*/summary.json")).parent)


def _trained(like: str | None, recipe: str | None) -> list[Run]:
    """Return the finished retrainings of a run, or the run itself if it is one; only those by `recipe`, if given."""
    from supernet.engine.run import Run

    if like is None or not Path(like).is_dir():
        return []
    folders = [Path(like), *sorted(file.parent for file in Path(like).glob("*/config.yaml"))]
    runs = [run for run in map(Run, folders) if run.task == "retrain" and run.finished]
    return [run for run in runs if recipe in (None, run.config["recipe"])]


def _settings(trained: list[Run], given: Arguments) -> dict[str, Any]:
    """Return the recipe's name and the settings of the first retraining, those of its images only on the same."""
    from supernet.retraining.recipes import Recipe

    if not trained:
        return {}
    before = trained[0].config
    names = [entry.name for entry in fields(Recipe) if entry.name not in _OF_IMAGES or before["data"] in given]
    return {name: before[name] for name in ("recipe", *names) if name in before}


def _asked(call: Mapping[str, Any], given: Arguments, trained: list[Run]) -> Asked:
    from supernet.models.cost.limits import parse_count
    from supernet.retraining.config import RetrainConfig
    from supernet.retraining.plan import plan
    from supernet.searching.baselines import Asked
    from supernet.searching.baselines.run import budget_of
    from supernet.searching.compare.config import seeds_of
    from supernet.settings import amend
    from supernet.spaces.rivals import RESNET

    named = {name: parse_count(name, call[name]) for name in ("flops", "params")}
    budget = {name: count for name, count in named.items() if count is not None}
    if bool(budget) == (call["like"] is not None):
        raise UserError("give --like RUN, or what the networks may cost: --flops 30M, --params 500k, or both")
    values = {entry.name: call[entry.name] for entry in fields(RetrainConfig)}
    what = _what(call["like"]) if call["like"] is not None else RESNET.choose(dict.fromkeys(RESNET.cells, (0,)))
    config = amend(RetrainConfig(what), values | {"what": what})
    sizes = _SIZES if trained else [name for name in _SIZES if peek(given, name, None) is not None]
    planned = plan(config, call["recipe"], sizes)
    seeds = tuple(seeds_of(call["seeds"]))
    paths = tuple(run.path for run in trained)
    return Asked(planned, seeds, budget or budget_of(planned, call["by"]), call["like"], paths)


def _what(like: str) -> Any:
    """Return the architecture of a retraining, or `like`: a search, or an architecture."""
    from supernet.engine.run import Run

    run = Run(like)
    return run.genotype if Path(like).is_dir() and run.task == "retrain" else like


def _folder(asked: Asked) -> Path:
    """Return the default folder: in the search's, if there is one."""
    from supernet.engine.folder import default_folder

    name = "-".join(["baseline", asked.plan.recipe, *asked.budget])
    if asked.like is not None and Path(asked.like).is_dir():
        return Path(asked.like) / name
    return default_folder(asked.plan.images.name, name, *map(str, asked.budget.values()))


def _arguments(recipe: str | None, before: Mapping[str, Any]) -> Any:
    """Return the typed arguments with their defaults: the fields of RetrainCall, by the recipe or a retraining."""
    import tyro

    from supernet.retraining.config import RetrainCall, configured
    from supernet.retraining.recipes import RECIPES
    from supernet.searching.baselines.run import BY
    from supernet.settings import amend, values_of

    started = {"recipe": recipe or "quick", **before}
    name = started.pop("recipe")
    start = amend(configured("", recipe or "quick"), started)
    types = {
        "data": option(Positional[str], "images to train on", metavar="DATA"),
        "like": option(str | None, "search, retraining or architecture that the others are like", metavar="RUN"),
        "recipe": option(str, f"recipe, by default that of RUN's retraining, if it has one: {', '.join(RECIPES)}"),
        "seeds": option(str, "seeds of each network, as 0-4 or 0,3"),
        "by": option(str, f"what the networks have as much of as RUN's: {', '.join(BY)}"),
        "flops": option(str | None, "FLOPs that the networks have, without --like, as 30M", metavar="COUNT"),
        "params": option(str | None, "parameters that the networks have, without --like, as 500k", metavar="COUNT"),
        "space": option(str | None, "space; None is the search's or the architecture's own", metavar="STR"),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "out": option(str | None, "folder of all runs; None is in RUN's, or under runs/", metavar="FOLDER"),
        **dict.fromkeys(("what", "seed", "callbacks"), HIDDEN),
    }
    values = values_of(start) | {"what": "", "callbacks": (), "data": tyro.MISSING}
    own = {"like": None, "recipe": name, "seeds": "0-4", "by": "both", "flops": None, "params": None}
    about = (
        "Train what needs no search as the network of RUN is trained, at the same cost: a ResNet, a MobileNetV2, an "
        "EfficientNet, a random architecture for each seed, and the largest one. All options of retrain apply."
    )
    return derived(RetrainCall, about, types, values | own)
