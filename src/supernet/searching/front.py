"""`supernet.front`: architectures along their cost from one search, each the best within its limit by its selector."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from supernet.data import Source
from supernet.engine.callbacks import Callback
from supernet.engine.defaults import plain_torch
from supernet.engine.driving import Driving, agreed, as_planned
from supernet.engine.process_group import joined
from supernet.engine.processes import by_first
from supernet.engine.run import Run
from supernet.errors import UserError, is_whole
from supernet.methods.base import Method
from supernet.models.cost.expected import Expected
from supernet.models.cost.latency import TabulatedLatency
from supernet.models.cost.limits import Limits
from supernet.models.cost.targets import limit_on, named
from supernet.models.evaluate import Scorer, Statistics
from supernet.report import page, progress
from supernet.searching import select
from supernet.searching.config import config_of
from supernet.searching.front_points import drawn, run_of
from supernet.searching.plan import Plan
from supernet.searching.resume import done, plan_of, restored
from supernet.searching.select import SelectionPlan
from supernet.selectors import SELECTORS, Preset
from supernet.settings import amend
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

POINTS = 5
_ANY = 1e15  # more than any network costs, in every unit


@plain_torch()
def front(
    run: Run | str | os.PathLike[str],
    points: int = POINTS,
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    device: str = "auto",
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> list[dict[str, Any]]:
    """Select up to `points` architectures along their cost from a finished search; return them, the costliest first.

    The first is the search's own; where the table has no latency for that, the best by the search's selector that has
    one. Each further one is the best, by the search's selector, within a limit: a step towards the cheapest
    architecture, of equal ratios from the one before over what is left. The cost is that of the search's first target
    or limit, by default parameters. A selection is a run in the search's `selections/`, and `front` in the summary of
    the search lists all of them with their accuracy in the supernet; front.svg draws them.

    - `data`, `space`, `method`, `device`: as for `select`.
    - `quiet`, `callbacks`: as for `search`.

    What has been selected before is not selected again. Raises UserError for a search that has not finished, in a space
    whose costs are not sums over the edges, where the table has no latency within the limits of the search, and for a
    selector of one's own.
    """
    searched = Run.of(run)
    searched.check_finished()
    given: dict[str, Any] = {"data": data, "space": space, "method": method, "device": device}
    with joined():
        how, plan = agreed(lambda: (Driving(quiet=quiet, callbacks=callbacks), plan_of(searched, **given)))
        add(searched, plan, points, progress.callbacks(how))
    found: list[dict[str, Any]] = drawn(searched)["points"]
    return found


def check(plan: Plan, selector: str, points: int) -> None:
    """Raise UserError where no front can be selected.

    That is for less than one of them, in a space whose costs are not sums over the edges, where no best within a limit
    can be found, and by a selector of the user's own, which a folder does not lead back to.
    """
    if not is_whole(points) or points < 1:
        raise UserError(f"a front needs at least 1 architecture, not {points!r}")
    if selector not in SELECTORS:
        raise UserError(f"there is no front by '{selector}', a selector of your own: search with a published one")
    plan.space.check_additive_cost("has no front")


def add(run: Run, plan: Plan, points: int, callback: Callback, *, resume_anyway: bool = False) -> None:
    """Select the architectures of a finished search, and write them into its summary, its page and a picture."""
    check(plan, run.config["selector"], points)
    if not _is_there(run, points):
        with as_planned(plan):  # a new supernet draws weights
            task = restored(plan, run)
        name = _cost(plan.config.targets) or _cost(plan.config.limits) or "params"
        how = Driving(resume_anyway=resume_anyway)
        runs = list(_selected(run, replace(plan, feasible=task.feasible), name, points, how, callback))
        if not runs:
            raise UserError(
                f"run '{run.path}' has no front: the table has no {name} of an architecture within its limits"
            )
        with as_planned(plan):
            norm: Statistics = getattr(_selector(run)[1], "norm", "batch")
            scorer = Scorer(task.method.supernet, task.validation_batches, norm)
            scores = scorer([task.method.supernet.only(each.genotype) for each in runs]).accuracy
        cost = Expected(plan.feasible, name).of
        found = [
            {
                "run": "." if each == run else str(each.path.relative_to(run.path)),
                "architecture": str(each.genotype),
                "cost": cost(each.genotype),
                "supernet": score,
            }
            for each, score in zip(runs, scores, strict=True)
        ]
        _write(run, {"asked": int(points), "cost": name, "images": scorer.images, "points": found})
    _draw(run)


def _is_there(run: Run, points: int) -> bool:
    """Return whether a search has its front of so many architectures, and all of their folders."""
    front = run.summary.get("front")
    return (
        front is not None and front["asked"] == points and all(run_of(run, each).finished for each in front["points"])
    )


def _cost(limits: Limits) -> str | None:
    return next(iter(named(limits)), None)


def _selector(run: Run) -> tuple[Preset, Any]:
    """Return the selector of a search, and its settings."""
    preset = SELECTORS.named(run.config["selector"])
    return preset, config_of(preset, run.config["select"])


def _selected(run: Run, plan: Plan, name: str, points: int, how: Driving, callback: Callback) -> Iterator[Run]:
    """Yield the search, and a selection within each limit: the last cost, less its share of the way to the cheapest.

    A search whose architecture has no cost is left out: a selection of those that have one is in its place.
    """
    preset, config = _selector(run)
    cost = Expected(plan.feasible, name).of

    def best(limit: Limits) -> Run | None:
        if (within := _within(plan, limit)) is None:
            return None
        most = next(iter(named(limit).values()))
        own = SelectionPlan(within, run, *done(run), preset, config, plan.seed, f"{name}-{most:.6g}")
        return _remember(plan, name, select.start(own, how, callback))

    here = cost(_remember(plan, name, run).genotype)
    last = best(limit_on(name, TabulatedLatency(plan.feasible.space, name).highest)) if math.isnan(here) else run
    if last is None:
        return
    yield last
    here = cost(last.genotype)
    least = cost(_cheapest(plan, name))
    for left in range(points - 1, 0, -1):
        if here <= least or (last := best(limit_on(name, least * (here / least) ** (left / (left + 1))))) is None:
            return
        yield last
        here = cost(last.genotype)


def _cheapest(plan: Plan, name: str) -> Genotype:
    return plan.feasible.limited(limit_on(name, _ANY)).smallest


def _remember(plan: Plan, name: str, run: Run) -> Run:
    """Return a run whose measured latency, if there is one, is known to the plan, and not measured again."""
    if name == "latency" and (found := run.summary["latency"]):
        plan.feasible.measured.setdefault(str(run.genotype), found["ms"])
    return run


def _within(plan: Plan, limit: Limits) -> Plan | None:
    """Return the plan with one limit more, a lower one; None if that leaves no architecture."""
    more = {field: value for field, value in vars(limit).items() if value is not None}
    if limit.max_latency_ms is None:
        del more["latency"]
    feasible = plan.feasible.limited(replace(plan.feasible.limits, **more))
    with suppress(UserError):
        feasible.check()
        return replace(plan, config=amend(plan.config, more), feasible=feasible)
    return None


@by_first
def _write(run: Run, found: Mapping[str, Any]) -> None:
    with run.held():
        run.write("summary.json", json.dumps(run.summary | {"front": found}, indent=2) + "\n")


@by_first
def _draw(run: Run) -> None:
    from supernet.report import plots

    found = drawn(run)
    for suffix in ("svg", "png"):
        plots.save(plots.draw_points(found["series"], found["title"]), run.path / f"front.{suffix}")
    page.write(run)
