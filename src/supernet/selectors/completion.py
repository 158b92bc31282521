"""Completion: which decisions on edges still leave an architecture within the limits."""

from __future__ import annotations

from supernet.errors import UserError
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.fixed_edges import FixedEdges, Row
from supernet.spaces.cell import Edge
from supernet.spaces.genotype import Genotype


class Completion:
    """Holds an architecture within `feasible` that agrees with all fixed edges, so that no decision is a dead end.

    Raises UserError for limits in a space whose nodes keep more or fewer edges.

    `genotype`: the architecture.
    """

    def __init__(self, feasible: FeasibleSet) -> None:
        self.feasible = feasible
        if feasible.limits and any(cell.varies for cell in feasible.space.cells.values()):
            raise UserError(
                f"perturbation keeps as many edges as a node may have, and limits in space '{feasible.space.name}' may "
                "need fewer: select with magnitude or threshold"
            )
        self.genotype = feasible.best(_op_scores(feasible, FixedEdges.none(feasible.space)))

    def allows(self, fixed: FixedEdges) -> bool:
        """Return whether an architecture within the limits agrees with the fixed edges."""
        return not self.feasible.limits or self._complete(fixed) is not None

    def take(self, fixed: FixedEdges) -> None:
        """Hold an architecture that agrees with the fixed edges, which must be allowed."""
        genotype = self._complete(fixed)
        assert genotype is not None
        self.genotype = genotype

    def _complete(self, fixed: FixedEdges) -> Genotype | None:
        """Return an architecture within the limits that agrees with the fixed edges, None if none is found.

        The architecture held is tried first. At least one decision is therefore always allowed, although `best` may
        miss the optimum where a latency must be measured.
        """
        if self._agrees(self.genotype, fixed):
            return self.genotype
        genotype = self.feasible.best(_op_scores(self.feasible, fixed))
        return genotype if self._agrees(genotype, fixed) else None

    def _agrees(self, genotype: Genotype, fixed: FixedEdges) -> bool:
        """Return whether every edge of an architecture has an operation that is fixed for the edge, or is not fixed."""
        return all(
            row is None or column is None or column in row
            for kind, columns in self.feasible.space.columns(genotype).items()
            for row, column in zip(fixed.rows[kind], columns, strict=True)
        )


def _op_scores(feasible: FeasibleSet, fixed: FixedEdges) -> dict[str, list[list[float]]]:
    """Return op scores whose best architecture agrees with the fixed edges if any does."""

    def scores(edge: Edge, row: Row) -> list[float]:
        return [0.0 if row is None or k in row else -1.0 for k in range(len(edge.ops))]

    cells = feasible.space.cells.items()
    return {k: [scores(e, row) for e, row in zip(cell.edges, fixed.rows[k], strict=True)] for k, cell in cells}
