"""`supernet baseline`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from supernet.cli.after import show_next
from supernet.cli.parsing import HIDDEN, Arguments, derived, import_own, option, parse, peek

if TYPE_CHECKING:
    from supernet.searching.baselines import Start


def baseline(given: Arguments) -> None:
    """Train what needs no search as the network of a search is trained, and compare them."""
    from supernet.engine.driving import driving
    from supernet.report.console import Console, line
    from supernet.retraining.config import RetrainConfig
    from supernet.searching.baselines import OF_LIKE, SIZES, Start, Which, asked, start
    from supernet.settings import amend

    import_own(given)
    begun = Start.of(peek(given, "like", None), peek(given, "recipe", None), given)
    call = vars(parse("baseline", _arguments(begun), given))
    given_of_which = {entry.name: call[entry.name] for entry in fields(Which) if call[entry.name] is not None}
    how, which = driving(call), Which(**given_of_which)
    config = amend(RetrainConfig(""), {entry.name: call[entry.name] for entry in fields(RetrainConfig)})
    sizes = [name for name in dict.fromkeys((*SIZES, *OF_LIKE)) if peek(given, name, None) is not None]
    found = start(asked(config, begun, call["like"], which, sizes), how, call["workers"])
    console = Console()
    line(console, f"\n{found.table()}")
    line(console, f"baselines     {found.path} (report.html, table.md, results.json)")
    if not how.quiet and found.training is not None:
        show_next(console, "baseline", found.training.path)


def _arguments(begun: Start) -> Any:
    """Return the typed arguments with their defaults: the fields of RetrainCall, as the trainings start."""
    import tyro

    from supernet.retraining.config import RetrainCall
    from supernet.retraining.recipes import RECIPES
    from supernet.searching.baselines import Which
    from supernet.searching.baselines.rivals import NETWORKS
    from supernet.searching.baselines.run import BY
    from supernet.settings import values_of

    networks = f"with commas between them; None is {', '.join(NETWORKS)}; `supernet architectures` has more"
    types = {
        "data": option(Positional[str], "images to train on", metavar="DATA"),
        "like": option(str | None, "search, retraining or architecture that the others are like", metavar="RUN"),
        "recipe": option(str, f"recipe, by default that of RUN's retraining, if it has one: {', '.join(RECIPES)}"),
        "seeds": option(str, "seeds of each network, as 0-4 or 0,3"),
        "by": option(str, f"what the networks have as much of as RUN's: {', '.join(BY)}"),
        "flops": option(str | None, "FLOPs of RUN's network, or without --like of all, as 30M", metavar="COUNT"),
        "params": option(str | None, "parameters of RUN's network, or without --like of all, as 500k", metavar="COUNT"),
        "networks": option(str | None, f"networks beside RUN's, {networks}", metavar="NAMES"),
        "workers": option(int, "trainings at a time; above 1 each is a process of its own"),
        "space": option(str | None, "space; None is the search's or the architecture's own", metavar="STR"),
        "device": option(str, "auto, cpu, cuda, cuda:1, ..."),
        "out": option(str | None, "folder of all runs; None is in RUN's, or under runs/", metavar="FOLDER"),
        **dict.fromkeys(("what", "seed", "callbacks"), HIDDEN),
    }
    values = values_of(begun.config) | {"what": "", "callbacks": (), "data": tyro.MISSING}
    own = vars(Which()) | {"networks": None, "recipe": begun.recipe, "like": None, "workers": 1}
    about = (
        "Train what needs no search as the network of RUN is trained, at the same cost: ResNets, a MobileNetV2, an "
        "EfficientNet, the cell that DARTS published, a random architecture for each seed, and the largest one. All "
        "options of retrain apply."
    )
    return derived(RetrainCall, about, types, values | own)
