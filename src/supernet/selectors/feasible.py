"""Completion: what limits leave of the decisions that could be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supernet.models.fixed_edges import FixedEdges, Row
from supernet.spaces.genotype import Genotype

if TYPE_CHECKING:
    from supernet.models.cost.best import FeasibleSet
    from supernet.spaces import Edge


class Completion:
    """An architecture within `feasible` that keeps to what is decided so far: as long as there is one, none is wasted."""

    def __init__(self, feasible: FeasibleSet) -> None:
        self.feasible = feasible
        self.kept = feasible.best(_strengths(feasible, FixedEdges.none(feasible.space)))

    def allows(self, decisions: FixedEdges) -> bool:
        """Return whether some architecture within the limits keeps to the decisions."""
        return not self.feasible.limits or self._keeping(decisions) is not None

    def take(self, decisions: FixedEdges) -> None:
        """Go on from decisions that are allowed."""
        kept = self._keeping(decisions)
        assert kept is not None  # they are allowed
        self.kept = kept

    def _keeping(self, decisions: FixedEdges) -> Genotype | None:
        """Return an architecture within the limits that keeps to the decisions, None if none is found.

        The one that keeps to those before is tried first: so one decision at least is always allowed, though a latency
        that must be measured may let the best be missed.
        """
        if self._keeps(self.kept, decisions):
            return self.kept
        found = self.feasible.best(_strengths(self.feasible, decisions))
        return found if self._keeps(found, decisions) else None

    def _keeps(self, genotype: Genotype, decisions: FixedEdges) -> bool:
        """Return whether an architecture has what is decided on every edge that it has."""
        return all(
            row is None or column is None or column in row
            for kind, columns in self.feasible.space.columns(genotype).items()
            for row, column in zip(decisions.rows[kind], columns, strict=True)
        )


def _strengths(feasible: FeasibleSet, decisions: FixedEdges) -> dict[str, list[list[float]]]:
    """Return strengths by which the best architecture is one that keeps to the decisions, if there is one."""

    def row(edge: Edge, left: Row) -> list[float]:
        return [0.0 if left is None or k in left else -1.0 for k in range(len(edge.ops))]

    cells = feasible.space.cells.items()
    return {k: [row(e, left) for e, left in zip(c.edges, decisions.rows[k], strict=True)] for k, c in cells}
