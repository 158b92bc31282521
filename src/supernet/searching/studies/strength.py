"""Magnitude against strength: the op weights of a search against the discretisation accuracy of every operation.

DARTS-PT (Wang et al., ICLR 2021, arXiv 2108.04392): one edge runs one of its operations alone, all other edges stay
mixed, the supernet is trained for some steps, and its accuracy is the operation's strength. Batches and random numbers
are the same for every operation, and the search's own supernet is left as it is.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from supernet.data import Source
from supernet.engine.callbacks import Callback
from supernet.engine.defaults import plain_torch
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.methods.base import Method
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import detached
from supernet.models.rank_metrics import kendall, same_best
from supernet.searching.studies.study import config_given, lookahead_batches, lookahead_of, studied, write
from supernet.searching.task import SearchTask
from supernet.settings import Real, Whole, settings
from supernet.spaces import SearchSpace

Numbers = dict[str, list[list[float]]]


@settings
class StrengthConfig:
    """Settings of the strength of operations."""

    steps: Whole = 20
    """steps of the weights with one operation on the edge, before the accuracy is measured"""
    lr: Real | None = None
    """learning rate of these steps; None is a tenth of the search's first one"""


@dataclass(frozen=True)
class Strength:
    """Per kind of cell, edge and candidate: the op weight, and the accuracy (0 to 1) with it alone on the edge.

    - `supernet`: the accuracy of the whole mix after as many steps.
    - `tau`: Kendall's tau-b of the two, the mean over the edges where it is defined; None if there is none.
    - `agreeing`: the number of the `edges` on which the largest weight has the highest accuracy.

    The last three compare the candidates that an architecture may choose, without `none` in a space like DARTS', on the
    edges that have several.
    """

    weights: Numbers
    accuracies: Numbers
    supernet: float
    tau: float | None
    agreeing: int
    edges: int
    config: StrengthConfig = field(default_factory=StrengthConfig)


@plain_torch()
def strength(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    device: str = "auto",
    workers: int = 1,
    config: StrengthConfig | Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Strength:
    """Measure every operation's strength in a search; write strength.json and strength.svg into its folder.

    `data`, `space` and `method` are needed where their names in the run do not lead back to them; `workers` are the
    processes that share the work, and `config` may be a mapping. Raises UserError for an argument that cannot be had.
    """
    config = config_given(StrengthConfig, config)
    with studied(run, callbacks, data=data, space=space, method=method, device=device) as (searched, task):
        result = _measured(task, config, workers)
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    known = task.method.supernet.space
    edges, choices = plots.edges_of(known.cells), {kind: known.candidates(cell) for kind, cell in known.cells.items()}
    percent = {kind: [[100 * value for value in row] for row in rows] for kind, rows in result.accuracies.items()}
    figure = plots.draw_strength(result.weights, percent, edges, 100 * result.supernet, result.tau, choices)
    write(searched, "strength", result, figure)
    return result


def _measured(task: SearchTask, config: StrengthConfig, workers: int) -> Strength:
    method, space = task.method, task.method.supernet.space
    cells, nothing, mix = space.cells, FixedEdges.none(space), detached(method.mix())
    places = [
        (kind, e, k) for kind, cell in cells.items() for e, edge in enumerate(cell.edges) for k in range(len(edge.ops))
    ]
    inner = lookahead_batches(task, config.steps, config.lr)
    mixes = [nothing.fix(kind, e, [k]).apply(mix) for kind, e, k in places]
    scores = lookahead_of(task, workers).scores(
        method.optimizer,
        [mix, *mixes],
        inner,
        list(task.validation_batches()),
        seed=seed_of(task.plan.seed, "strength trials"),
    )
    measured = dict(zip(places, scores.accuracy[1:], strict=True))
    accuracies: Numbers = {
        kind: [[measured[kind, e, k] for k in range(len(edge.ops))] for e, edge in enumerate(cell.edges)]
        for kind, cell in cells.items()
    }
    weights: Numbers = {
        kind: [row[: len(edge.ops)] for row, edge in zip(mix[kind].weights.tolist(), cell.edges, strict=True)]
        for kind, cell in cells.items()
    }
    taus, agreeing, edges = _compared(space, weights, accuracies)
    tau = statistics.fmean(taus) if taus else None
    return Strength(weights, accuracies, scores.accuracy[0], tau, agreeing, edges, config)


def _compared(space: SearchSpace, weights: Numbers, accuracies: Numbers) -> tuple[list[float], int, int]:
    """Return the rank correlations where defined, the number of edges that agree on the best, and that of all edges.

    Of several operations with the largest weight all must have the highest accuracy. An edge without a choice is left
    out.
    """
    rows = [
        ([left[k] for k in columns], [right[k] for k in columns])
        for kind, cell in space.cells.items()
        for left, right, columns in zip(weights[kind], accuracies[kind], space.candidates(cell), strict=True)
        if len(columns) > 1
    ]
    taus = [kendall(left, right) for left, right in rows]
    agreeing = sum(same_best(left, right) for left, right in rows)
    return [tau for tau in taus if not math.isnan(tau)], agreeing, len(rows)
