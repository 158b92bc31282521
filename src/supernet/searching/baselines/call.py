"""`supernet.baseline`, and what the command line has in common with it: what is asked for, and where it starts from."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from supernet.data import Images, Source, load, same_source, source_name
from supernet.engine.defaults import plain_torch
from supernet.engine.driving import driving
from supernet.engine.run import Run
from supernet.errors import UserError, names_given, unknown
from supernet.models.cost.limits import parse_count
from supernet.models.cost.scaling import UNITS
from supernet.retraining.config import RetrainConfig, Target, configured
from supernet.retraining.plan import plan
from supernet.retraining.recipes import OF_IMAGES, RECIPES, Recipe
from supernet.searching.baselines.rivals import NETWORKS, OF_SPACE
from supernet.searching.baselines.run import Asked, Like, budget_of, run_of
from supernet.searching.baselines.table import Baselines
from supernet.searching.baselines.training import start
from supernet.searching.compare.config import Seeds, seeds_of
from supernet.settings import amend
from supernet.spaces.known import known as published
from supernet.spaces.rivals import RESNET, only_architecture

SIZES = ("width", "depth")
OF_LIKE = ("width", "stem", "reductions")  # settings of a network's size that the other networks do not take
_READING = ("image_size", "skip_broken", "stream")  # with another one, the same images have another fingerprint


@plain_torch()
def baseline(
    data: Source,
    *,
    like: Target | None = None,
    seeds: Seeds = "0-4",
    by: str = "both",
    flops: str | float | None = None,
    params: str | float | None = None,
    networks: str | Sequence[str] = NETWORKS,
    recipe: str | None = None,
    workers: int = 1,
    **settings: Any,
) -> Baselines:
    """Train what needs no search as the network of a search is trained, at the same cost, and return the table.

    - `data`: the images.
    - `like`: the search, the retraining or the architecture that the others are like.
    - `seeds`: numbers, or text as "0-4".
    - `by`: what the networks have as much of as that of `like`: "flops", "params" or "both".
    - `flops`, `params`: what the network of `like` has, by its width, as 30_000_000 or "30M"; without `like`, what
      the others have.
    - `networks`: what is trained beside the network of `like`: names, or text as "resnet,random,GDAS_V1", also those
      of published architectures.
    - `recipe`: its name; None is that of the retraining of `like`, if there is one, and "quick" otherwise.
    - `workers`: trainings at a time; above 1 each is a process of its own, which reads the images from a path.
    - `settings`: the arguments of `supernet.retrain`, for all. Those that are not given are those of the retraining of
      `like`, if there is one, otherwise of the recipe.

    Called again with the same arguments, it goes on. Raises UserError for a setting that cannot be had. Ctrl-C raises
    KeyboardInterrupt and leaves a folder in which the same call goes on.
    """
    if own := {"what", "seed"} & settings.keys():
        raise UserError(f"'{min(own)}' is no setting of baselines: give like= and seeds=")
    how, like = driving(settings), like.path if isinstance(like, Run) else like
    like = os.fspath(like) if isinstance(like, os.PathLike) else like
    begun = Start.of(like, recipe, (data,))
    config = amend(begun.config, settings | {"data": data})
    which = Which(seeds, networks, by, flops, params)
    return start(asked(config, begun, like, which, settings), how, workers)


@dataclass(frozen=True)
class Which:
    """Which networks are trained, as the user says it; see `baseline`."""

    seeds: Seeds = "0-4"
    networks: str | Sequence[str] = NETWORKS
    by: str = "both"
    flops: str | float | None = None
    params: str | float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the networks; raises UserError for an unknown one."""
        names = dict.fromkeys((*NETWORKS, *published()))
        wanted = tuple(names_given("networks", self.networks))
        if not wanted:
            raise UserError(f"baselines need a network, as {NETWORKS[0]}")
        for name in wanted:
            if not isinstance(name, str) or name not in names:
                raise unknown("network", name, names, "supernet architectures")
        return wanted

    @property
    def budget(self) -> dict[str, int]:
        """What the networks have, without `like`; raises UserError for what is no count."""
        costs = {"flops": self.flops, "params": self.params}
        counts = {name: parse_count(name, cost) for name, cost in costs.items()}
        return {name: count for name, count in counts.items() if count is not None}


@dataclass(frozen=True)
class Start:
    """The recipe and the settings of all trainings where the user says nothing else, and retrainings that have them."""

    recipe: str
    config: RetrainConfig
    trained: tuple[Run, ...]

    @classmethod
    def of(cls, like: Like, recipe: str | None, given: Collection[Source]) -> Start:
        """Return the start from the retrainings of `like`, only of those by `recipe`, if given.

        `given` are the images, or texts of which one names them: settings of others than the retraining's stay open.
        """
        trained = _retrainings(run_of(like), recipe)
        if not trained:
            return cls(recipe or "quick", configured("", recipe or "quick"), ())
        before = trained[0].config
        own = any(_is_own(before, data) for data in given)
        names = [entry.name for entry in fields(Recipe) if entry.name not in OF_IMAGES or own]
        base = before["recipe"] if before["recipe"] in RECIPES else "quick"  # all of a Recipe of one's own is recorded
        values = {name: before[name] for name in names if name in before}
        return cls(before["recipe"], configured("", base, **values), trained)


def _is_own(config: Mapping[str, Any], data: Source) -> bool:
    """Return whether images are those of a retraining: by their place or, of arrays and a Dataset, by their pixels."""
    if isinstance(data, str | os.PathLike):
        return same_source(source_name(data), config["data"])
    if source_name(data) != config["data"]:
        return False
    images = load(data, config["image_size"], skip_broken=config["skip_broken"])
    return bool(images.fingerprint == config["fingerprint"])


def _retrainings(run: Run | None, recipe: str | None) -> tuple[Run, ...]:
    """Return the finished retrainings of a run, or the run itself if it is one; only those by `recipe`, if given."""
    runs = [] if run is None else [run, *run.inside]
    done = [each for each in runs if each.task == "retrain" and each.finished]
    return tuple(each for each in done if recipe in (None, each.config["recipe"]))


def asked(config: RetrainConfig, begun: Start, like: Like, which: Which, given: Collection[str]) -> Asked:
    """Return what is asked for; raises UserError for what cannot be had.

    `given` names the settings that are the user's.
    """
    budget, seeds = which.budget, tuple(seeds_of(which.seeds))
    if not seeds:
        raise UserError("baselines need a seed, as 0")
    if like is None and not budget:
        raise UserError("give --like RUN, or what the networks may cost: --flops 30M, --params 500k, or both")
    if like is None and which.by != Which.by:
        raise UserError("--by is of --like RUN: without it, the networks have what --flops and --params say")
    if like is None and config.space is not None:
        raise UserError("--space is the space of --like: give an architecture of it as well, as --like DARTS_V2")
    scaled = {} if like is None else budget
    run, what = run_of(like), only_architecture(RESNET) if like is None else like
    if run is not None and run.task == "retrain":
        what = run.genotype
    taken = () if not begun.trained else ("depth",) if scaled else SIZES  # from the retrainings, before the search's
    size: dict[str, Any] = dict.fromkeys(UNITS) | scaled
    planned = plan(amend(config, {"what": what, **size}), begun.recipe, {*given, *taken})
    paths = tuple(each.path for each in begun.trained)
    told = _elsewhere(run, planned.images, planned.config) if like is not None else _homeless(which, given)
    costs = budget if like is None else budget_of(planned, which.by)
    return Asked(planned, seeds, costs, like, which.names, scaled, paths, told)


def _homeless(which: Which, given: Collection[str]) -> tuple[str, ...]:
    """Return a phrase for each network asked for by name, and each setting, that is of `like`, which is not given.

    By default, nobody has asked for these networks.
    """
    idle = [f"{name} has no effect without --like: the cost decides" for name in OF_LIKE if name in given]
    named = () if which.names == NETWORKS else which.names
    told = "is left out: it is an architecture of the space of --like RUN"
    return (*(f"{name} {told}" for name in named if name in OF_SPACE), *idle)


def _elsewhere(run: Run | None, images: Images, config: RetrainConfig) -> tuple[str, ...]:
    """Return a phrase if a run was on other images than those that are trained on, and not just on some of them."""
    if run is None or (before := run.config)["fingerprint"] == images.fingerprint:
        return ()
    theirs, ours = (before["data_name"], before["classes"]), (images.name, list(images.classes))
    as_many = before.get("images") in (None, len(images.x))
    as_read = as_many and all(before.get(name) == getattr(config, name) for name in _READING)
    if theirs == ours and not as_read:
        return ()
    was = "trained" if run.task == "retrain" else "searched"
    there, here = (f"{name} of {len(classes)} classes" for name, classes in (theirs, ours))
    return (f"'{run.path}' was {was} on other images, {there}: all networks are trained and measured on {here}",)
