"""The networks of a table of baselines as they are planned, and trained in a folder by one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from supernet.engine.driving import Driving
from supernet.engine.run import Run
from supernet.errors import UserError, unknown
from supernet.retraining import plan as plans
from supernet.retraining import train
from supernet.retraining.plan import RetrainingPlan
from supernet.searching.baselines.rivals import Rival, known, of_found

BY = {"flops": ("flops",), "params": ("params",), "both": ("flops", "params")}


@dataclass(frozen=True)
class Asked:
    """What a table of baselines is of: a plan of the found network, or only of the images, and a budget.

    - `like`: the folder or architecture that was given, None without one.
    - `budget`: the parameters and FLOPs that the known networks are scaled to, by the names of the fields of Cost.
    - `trained`: retrainings of the found network that may be there already.
    """

    plan: RetrainingPlan
    seeds: tuple[int, ...]
    budget: Mapping[str, int]
    like: str | None = None
    trained: tuple[Path, ...] = field(default=(), compare=False)

    @property
    def record(self) -> dict[str, Any]:
        """What the folder is of, as plain data; seeds may be added later."""
        plan = self.plan
        return {
            "fingerprint": plan.images.fingerprint,
            "recipe": plan.recipe,
            "architecture": None if self.like is None else str(plan.genotype),
            "budget": dict(self.budget),
        }


def budget_of(plan: RetrainingPlan, by: str) -> dict[str, int]:
    """Return what the planned network costs, of what `by` names; raises UserError for another name."""
    if by not in BY:
        raise unknown("cost to scale by", by, BY)
    return {name: getattr(plan.price, name) for name in BY[by]}


@dataclass(frozen=True)
class Baselines:
    """A folder of trained networks and their rows."""

    path: Path
    asked: Asked

    @cached_property
    def _known(self) -> tuple[list[Rival], list[str]]:
        return known(self.asked.budget, self.asked.plan.network_size)

    @cached_property
    def rivals(self) -> list[Rival]:
        """The networks, the found one first, if there is one; raises UserError if there is none at all."""
        asked = self.asked
        found = of_found(asked.plan, asked.budget, asked.seeds) if asked.like is not None else []
        if not (every := [*found, *self._known[0]]):
            raise UserError(f"no network can be scaled so far down: {'; '.join(self._known[1])}")
        return every

    @property
    def told(self) -> list[str]:
        """What the networks do not keep to, and those that are left out."""
        return [*(rival.told for rival in self.rivals if rival.told), *self._known[1]]

    def plan_of(self, rival: Rival, seed: int) -> RetrainingPlan:
        """Return the plan of a network's retraining with a seed: the found network's but for architecture and size."""
        base, size = self.asked.plan, rival.network_size
        sizes = {name: getattr(size, name) for name in ("width", "depth", "stem", "reductions")}
        genotype = rival.genotype(seed)
        config = replace(base.config, what=genotype, space=None, seed=seed, **sizes)
        return plans.on(base.images, config, (rival.space, rival.space_name, genotype), base.recipe)

    def train(self, rival: Rival, seed: int, how: Driving) -> Run:
        """Train a network with a seed, or go on with it, and return the run; a finished one stays as it is."""
        plan, run = self.plan_of(rival, seed), Run(self.path / f"{rival.folder}-{seed}")
        there = [run, *(map(Run, self.asked.trained) if rival.folder == "found" else ())]
        done = None if how.force else next((run for run in there if _is(run, plan)), None)
        return done or train.start(plan, replace(how, out=run.path, quiet=True))


def _is(run: Run, plan: RetrainingPlan) -> bool:
    """Return whether a run has finished, with the very settings of a plan."""
    try:
        return run.finished and bool(run.holds(plan.record)) and run.config["epochs"] == plan.config.epochs
    except UserError:
        return False
