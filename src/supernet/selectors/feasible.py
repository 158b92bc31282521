"""Within: what limits leave of the decisions that could be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supernet.models.fixed_edges import Decisions, Row
from supernet.spaces.genotype import Genotype

if TYPE_CHECKING:
    from supernet.models.cost.best import Bounds
    from supernet.spaces import Edge


class Within:
    """An architecture within `bounds` that keeps to what is decided so far: as long as there is one, none is wasted."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.kept = bounds.best(_strengths(bounds, Decisions.none(bounds.space)))

    def allows(self, decisions: Decisions) -> bool:
        """Return whether some architecture within the limits keeps to the decisions."""
        return not self.bounds.limits or self._keeping(decisions) is not None

    def take(self, decisions: Decisions) -> None:
        """Go on from decisions that are allowed."""
        kept = self._keeping(decisions)
        assert kept is not None  # they are allowed
        self.kept = kept

    def _keeping(self, decisions: Decisions) -> Genotype | None:
        """Return an architecture within the limits that keeps to the decisions, None if none is found.

        The one that keeps to those before is tried first: so one decision at least is always allowed, though a latency
        that must be measured may let the best be missed.
        """
        if self._keeps(self.kept, decisions):
            return self.kept
        found = self.bounds.best(_strengths(self.bounds, decisions))
        return found if self._keeps(found, decisions) else None

    def _keeps(self, genotype: Genotype, decisions: Decisions) -> bool:
        """Return whether an architecture has what is decided on every edge that it has."""
        return all(
            row is None or column is None or column in row
            for kind, columns in self.bounds.space.columns(genotype).items()
            for row, column in zip(decisions.rows[kind], columns, strict=True)
        )


def _strengths(bounds: Bounds, decisions: Decisions) -> dict[str, list[list[float]]]:
    """Return strengths by which the best architecture is one that keeps to the decisions, if there is one."""

    def row(edge: Edge, left: Row) -> list[float]:
        return [0.0 if left is None or k in left else -1.0 for k in range(len(edge.ops))]

    cells = bounds.space.cells.items()
    return {k: [row(e, left) for e, left in zip(c.edges, decisions.rows[k], strict=True)] for k, c in cells}
