"""PerturbationScore: how much is lost without an operation, or without an edge; what loses more is stronger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from supernet.models.evaluate import Scorer
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import EdgeMix, Mix, detached

if TYPE_CHECKING:
    from supernet.methods.base import Method

Criterion = Literal["accuracy", "loss", "magnitude"]


class PerturbationScore:
    """How much the supernet loses by `criterion`: minus its accuracy without, or its loss; or the weight alone.

    `score` runs the supernet, with what `decisions` says of the other edges; "magnitude" does without.
    """

    def __init__(self, criterion: Criterion, method: Method, score: Scorer) -> None:
        self.criterion, self.method, self.score = criterion, method, score

    def of_operations(self, kind: str, edge: int, columns: Sequence[int], decisions: FixedEdges) -> dict[int, float]:
        """Return it by column, of operations of an edge that is not decided.

        Their weight is given to no other.
        """
        if self.criterion == "magnitude":
            row = self.method.op_scores()[kind][edge].tolist()
            return {k: row[k] for k in columns}
        mix = decisions.apply(detached(self.method.mix()))
        return dict(zip(columns, self._of([_without(mix, kind, edge, k) for k in columns]), strict=True))

    def of_edges(self, kind: str, edges: Sequence[int], decisions: FixedEdges) -> dict[int, float]:
        """Return it by edge, of edges whose operation is decided."""
        if self.criterion == "magnitude":
            rows, strength = decisions.rows[kind], self.method.op_scores()[kind].tolist()
            return {e: strength[e][(rows[e] or (0,))[0]] for e in edges}
        mix = detached(self.method.mix())
        return dict(zip(edges, self._of([decisions.fix(kind, e, []).apply(mix) for e in edges]), strict=True))

    def _of(self, mixes: Sequence[Mix]) -> list[float]:
        scores = self.score(mixes)
        return scores.loss if self.criterion == "loss" else [-accuracy for accuracy in scores.accuracy]

    def told(self, harm: float) -> float:
        """Return what a person is told of it: an accuracy, a loss or a weight."""
        return -harm if self.criterion == "accuracy" else harm


def _without(mix: Mix, kind: str, edge: int, column: int) -> Mix:
    weights = mix[kind].weights.clone()
    weights[edge, column] = 0
    return {**mix, kind: EdgeMix(weights, mix[kind].active)}
