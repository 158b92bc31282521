"""The networks of a table of baselines as they are planned, and trained in a folder by one recipe."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from supernet.engine.driving import Driving
from supernet.engine.folder import default_folder
from supernet.engine.run import Run
from supernet.errors import UserError, unknown
from supernet.retraining import plan as plans
from supernet.retraining import train
from supernet.retraining.plan import RetrainingPlan
from supernet.searching.baselines.rivals import NETWORKS, Rival, known, of_found
from supernet.spaces.genotype import Genotype

BY = {"flops": ("flops",), "params": ("params",), "both": ("flops", "params")}
Like = str | Genotype | None
"""What the networks are like: a run's folder, or an architecture; None without one."""


@dataclass(frozen=True)
class Asked:
    """What a table of baselines is of: a plan of the found network, or only of the images, and a budget.

    - `budget`: the parameters and FLOPs that the known networks are scaled to, by the names of the fields of Cost.
    - `networks`: what the found network is compared with, of `NETWORKS` and the published architectures.
    - `scaled`: the parameters or FLOPs that the found network's width was chosen for, if it was.
    - `trained`: retrainings of the found network that may be there already.
    - `told`: what the user may not expect of all this, a phrase each.
    """

    plan: RetrainingPlan
    seeds: tuple[int, ...]
    budget: Mapping[str, int]
    like: Like = None
    networks: Collection[str] = NETWORKS
    scaled: Mapping[str, int] = field(default_factory=dict)
    trained: tuple[Path, ...] = field(default=(), compare=False)
    told: tuple[str, ...] = field(default=(), compare=False)

    @property
    def record(self) -> dict[str, Any]:
        """What the folder is of, as plain data; seeds and networks may be added later.

        Epochs may not: the learning rate of a training that goes on has come down before, that of a new one has not.
        """
        plan = self.plan
        return {
            "fingerprint": plan.images.fingerprint,
            "recipe": plan.recipe,
            "epochs": plan.config.epochs,
            "architecture": None if self.like is None else str(plan.genotype),
            "budget": dict(self.budget),
        }

    @property
    def folder(self) -> Path:
        """The default folder of all runs: in that of `like`, if it is a run."""
        name = "-".join(["baseline", self.plan.recipe, *self.budget, *map(str, self.scaled.values())])
        if (run := run_of(self.like)) is not None:
            return run.path / name
        return default_folder(self.plan.images.name, name, *map(str, self.budget.values()))


def run_of(like: Like) -> Run | None:
    """Return the run whose folder was given, None for an architecture, and without either."""
    return Run(like) if isinstance(like, str) and os.path.isdir(like) else None  # noqa: PTH112  Path fails on long text


def budget_of(plan: RetrainingPlan, by: str) -> dict[str, int]:
    """Return what the planned network costs, of what `by` names; raises UserError for another name."""
    if not isinstance(by, str) or by not in BY:
        raise unknown("cost to scale by", by, BY)
    return {name: getattr(plan.price, name) for name in BY[by]}


@dataclass(frozen=True)
class Trainings:
    """The trainings of all networks and seeds, in a folder."""

    path: Path
    asked: Asked

    @cached_property
    def _known(self) -> tuple[list[Rival], list[str]]:
        return known(self.asked.budget, self.asked.plan.network_size, self.asked.networks)

    @cached_property
    def _of_found(self) -> tuple[list[Rival], list[str]]:
        asked = self.asked
        return ([], []) if asked.like is None else of_found(asked.plan, asked.budget, asked.seeds, asked.networks)

    @cached_property
    def rivals(self) -> list[Rival]:
        """The networks, the found one first, if there is one; raises UserError if there is none at all."""
        if every := [*self._of_found[0], *self._known[0]]:
            return every
        if self._known[1]:
            raise UserError(f"no network can be trained: {'; '.join(self._known[1])}")
        raise UserError("random and largest are architectures of the space of --like RUN: give it")

    @property
    def told(self) -> list[str]:
        """What the user may not expect: of the images, what the networks do not keep to, and those left out."""
        left_out = [*self._of_found[1], *self._known[1]]
        return [*self.asked.told, *(rival.told for rival in self.rivals if rival.told), *left_out]

    def folder(self, rival: Rival, seed: int) -> Path:
        """Return the run folder of a network with a seed."""
        return self.path / f"{rival.folder}-{seed}"

    def plan_of(self, rival: Rival, seed: int) -> RetrainingPlan:
        """Return the plan of a network's retraining with a seed: the found network's but for architecture and size."""
        base, size = self.asked.plan, rival.network_size
        sizes = {name: getattr(size, name) for name in ("width", "depth", "stem", "reductions")}
        genotype = rival.genotype(seed)
        config = replace(base.config, what=genotype, space=None, seed=seed, **sizes)
        return plans.on(base.images, config, (rival.space, rival.space_name, genotype), base.recipe)

    def check(self, rival: Rival, seed: int) -> None:
        """Raise UserError if the folder of a network with a seed holds a run with other settings, which it names."""
        if (folder := self.folder(rival, seed)).exists():
            Run(folder).holds(self.plan_of(rival, seed).record)

    def finished(self, rival: Rival, seed: int) -> Run | None:
        """Return the run of a network with a seed if it has finished, here or as a retraining of the found one."""
        return self._finished(rival, seed, self.plan_of(rival, seed))

    def _finished(self, rival: Rival, seed: int, plan: RetrainingPlan) -> Run | None:
        there = [self.folder(rival, seed), *(self.asked.trained if rival.folder == "found" else ())]
        return next((run for run in map(Run, there) if _is(run, plan)), None)

    def train(self, rival: Rival, seed: int, how: Driving) -> Run:
        """Train a network with a seed, or go on with it, and return the run; a finished one stays as it is."""
        plan = self.plan_of(rival, seed)
        done = None if how.force else self._finished(rival, seed, plan)
        return done or train.start(plan, replace(how, out=self.folder(rival, seed), quiet=True))


def _is(run: Run, plan: RetrainingPlan) -> bool:
    """Return whether a run has finished, with the very settings of a plan."""
    try:
        return run.finished and bool(run.holds(plan.record)) and run.config["epochs"] == plan.config.epochs
    except UserError:
        return False
