"""Magnitude against strength: the op weights of a search beside what its operations are worth, edge by edge.

DARTS-PT (Wang et al., ICLR 2021, arXiv 2108.04392) asks it edge by edge: the edge runs one of its operations alone, all
others stay mixed, the supernet is trained on for a while, and its accuracy is that operation's strength. Batches and
random numbers are the same for every operation, and the search's own supernet stays as it is.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from supernet.data import Source
from supernet.engine.loop import as_planned
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import at_least
from supernet.models.fixed_edges import FixedEdges
from supernet.models.lookahead import Lookahead
from supernet.models.mixed_cell import detached
from supernet.models.rank_metrics import kendall
from supernet.searching.resume import planned, restored
from supernet.searching.studies.lookahead_batches import lookahead_batches
from supernet.searching.task import SearchTask
from supernet.spaces import SearchSpace

Numbers = dict[str, list[list[float]]]


@dataclass(frozen=True)
class StrengthConfig:
    """How the strength of operations is measured."""

    steps: int = 20
    """steps of the weights after an edge has got its one operation, before the accuracy is measured"""
    lr: float | None = None
    """learning rate of these steps; None is a tenth of the search's first one"""

    def __post_init__(self) -> None:
        at_least(0, steps=self.steps, lr=self.lr)


@dataclass(frozen=True)
class Strength:
    """Per kind of cell, edge and candidate: the op weight, and the accuracy (0 to 1) when the edge has it alone.

    - `supernet`: the accuracy with everything mixed, after as many steps.
    - `tau`: Kendall's tau-b between the two, the mean over the edges that have one; None if none has.
    - `agreeing`: of the `edges`, those where the largest weight has the highest accuracy.
    """

    weights: Numbers
    accuracies: Numbers
    supernet: float
    tau: float | None
    agreeing: int
    edges: int
    settings: StrengthConfig = field(default_factory=StrengthConfig)


def strength(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    device: str = "auto",
    workers: int = 1,
    settings: StrengthConfig | None = None,
) -> Strength:
    """Measure every operation's strength in a search; write strength.json and strength.svg into its folder.

    `data` and `space` are needed where the run does not name them so that they are found again; `workers` are the
    processes that share the work. Raises UserError for what cannot be had.
    """
    home = run if isinstance(run, Run) else Run(run)
    plan, wanted = planned(home, data=data, space=space, device=device), settings or StrengthConfig()
    with as_planned(plan):
        found = _measured(restored(plan, home), wanted, workers)
    from supernet.report import plots  # Matplotlib is slow to import and needed nowhere else

    home.write("strength.json", json.dumps(asdict(found)) + "\n")
    edges = plots.edges_of(plan.space.cells)
    percent = {kind: [[100 * value for value in row] for row in rows] for kind, rows in found.accuracies.items()}
    figure = plots.draw_strength(found.weights, percent, edges, 100 * found.supernet, found.tau)
    plots.save(figure, home.path / "strength.svg")
    return found


def _measured(task: SearchTask, settings: StrengthConfig, workers: int) -> Strength:
    method, cells = task.method, task.plan.space.cells
    nothing, mix = FixedEdges.none(task.plan.space), detached(method.mix())
    places = [
        (kind, e, k) for kind, cell in cells.items() for e, edge in enumerate(cell.edges) for k in range(len(edge.ops))
    ]
    inner = lookahead_batches(task, settings.steps, settings.lr)
    mixes = [nothing.fix(kind, e, [k]).apply(mix) for kind, e, k in places]
    trials = Lookahead(method.supernet, task.plan.protocol.w, workers)
    scores = trials.scores(
        method.optimizer,
        [mix, *mixes],
        inner,
        list(task.validation_batches()),
        seed=seed_of(task.plan.seed, "strength trials"),
    )
    known = dict(zip(places, scores.accuracy[1:], strict=True))
    accuracies: Numbers = {
        kind: [[known[kind, e, k] for k in range(len(edge.ops))] for e, edge in enumerate(cell.edges)]
        for kind, cell in cells.items()
    }
    weights: Numbers = {
        kind: [row[: len(edge.ops)] for row, edge in zip(mix[kind].weights.tolist(), cell.edges, strict=True)]
        for kind, cell in cells.items()
    }
    taus, agreeing, edges = _compared(weights, accuracies)
    tau = statistics.fmean(taus) if taus else None
    return Strength(weights, accuracies, scores.accuracy[0], tau, agreeing, edges, settings)


def _compared(weights: Mapping[str, Sequence[Sequence[float]]], accuracies: Numbers) -> tuple[list[float], int, int]:
    """Return the rank correlations of the edges that have one, how many agree on the best, and how many there are."""
    rows = [pair for kind, own in weights.items() for pair in zip(own, accuracies[kind], strict=True)]
    taus = [kendall(left, right) for left, right in rows]
    agreeing = sum(right[max(range(len(left)), key=left.__getitem__)] == max(right) for left, right in rows)
    return [tau for tau in taus if not math.isnan(tau)], agreeing, len(rows)
