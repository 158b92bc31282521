"""Perturbation scores: how much worse the supernet is without an operation, or without an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from supernet.methods.base import Method
from supernet.models.evaluate import Scorer
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import Mix, detached

Criterion = Literal["accuracy", "loss", "magnitude"]
Score = tuple[float, ...]


class PerturbationScore:
    """Scores operations and edges by `criterion`; a larger score means a more important operation or edge.

    Under "accuracy" the score is minus the accuracy, and the loss among equal accuracies, of the supernet without the
    operation or edge, on the images of `scorer`. Under "loss" it is the loss alone, and under "magnitude" the op score,
    without an evaluation.
    """

    def __init__(self, criterion: Criterion, method: Method, scorer: Scorer) -> None:
        self.criterion, self.method, self.scorer = criterion, method, scorer

    def of_operations(self, kind: str, edge: int, columns: Sequence[int], fixed: FixedEdges) -> dict[int, Score]:
        """Return the score of each of the `columns` of an edge that is not fixed.

        The other operations of the edge keep their op weights.
        """
        if self.criterion == "magnitude":
            row = self.method.op_scores()[kind][edge].tolist()
            return {k: (row[k],) for k in columns}
        mix = fixed.apply(detached(self.method.mix()))
        return dict(zip(columns, self._scores([_without(mix, kind, edge, k) for k in columns]), strict=True))

    def of_edges(self, kind: str, edges: Sequence[int], fixed: FixedEdges) -> dict[int, Score]:
        """Return the score of each of the `edges`, whose operations are fixed."""
        if self.criterion == "magnitude":
            rows, op_scores = fixed.rows[kind], self.method.op_scores()[kind].tolist()
            return {e: (op_scores[e][(rows[e] or (0,))[0]],) for e in edges}
        mix = detached(self.method.mix())
        return dict(zip(edges, self._scores([fixed.fix(kind, e, []).apply(mix) for e in edges]), strict=True))

    def _scores(self, mixes: Sequence[Mix]) -> list[Score]:
        scores = self.scorer(mixes)
        if self.criterion == "loss":
            return [(loss,) for loss in scores.loss]
        return [(-accuracy, loss) for accuracy, loss in zip(scores.accuracy, scores.loss, strict=True)]

    def reported(self, score: Score) -> float:
        """Return the accuracy, the loss or the op score that a score stands for."""
        return -score[0] if self.criterion == "accuracy" else score[0]


def _without(mix: Mix, kind: str, edge: int, column: int) -> Mix:
    weights = mix[kind].weights.clone()
    weights[edge, column] = 0
    return {**mix, kind: replace(mix[kind], weights=weights, ones=False)}  # of a path, one weight is no longer 1
