"""FixedEdges: which edges of a supernet are decided already, and for what, while others are still mixed.

Selection by perturbation (Wang et al., ICLR 2021, arXiv 2108.04392) makes a trained supernet into one architecture edge
by edge and trains it in between. A decided edge runs what was decided with weight 1, whatever the method's op weights
say; those of the other edges stay as they are, and are not normalised again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from supernet.models.mix import EdgeMix, Mix

if TYPE_CHECKING:
    from supernet.spaces.search_space import SearchSpace

Row = tuple[int, ...] | None
"""Of one edge: the columns that run, one or (where the edge is left out) none; None where nothing is decided."""


@dataclass(frozen=True)
class FixedEdges:
    """Per kind of cell and per edge what is decided, in the order of the cell's edges."""

    rows: Mapping[str, tuple[Row, ...]]
    _made: dict[tuple[str, torch.device, torch.dtype], tuple[Tensor, Tensor]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def none(cls, space: SearchSpace) -> FixedEdges:
        """Return what a search begins with: nothing is decided."""
        return cls({kind: (None,) * len(cell.edges) for kind, cell in space.cells.items()})

    def fix(self, kind: str, edge: int, columns: Sequence[int]) -> FixedEdges:
        """Return these decisions and one more: edge number `edge` runs one column, or is left out if there is none."""
        row = (*self.rows[kind][:edge], tuple(columns), *self.rows[kind][edge + 1 :])
        return FixedEdges({**self.rows, kind: row})

    def apply(self, mix: Mix) -> Mix:
        """Return `mix` with the rows of the decided edges one-hot, or 0, and without gradient."""
        return {kind: self._row(kind, edges) for kind, edges in mix.items()}

    def _row(self, kind: str, edges: EdgeMix) -> EdgeMix:
        rows = self.rows[kind]
        if all(row is None for row in rows):
            return edges
        own, weights = self._constants(kind, edges.weights)
        every = tuple(range(edges.weights.shape[1]))
        before = edges.active or (every,) * len(rows)
        active = tuple(old if row is None else row for old, row in zip(before, rows, strict=True))
        shift = None if edges.shift is None else edges.shift.masked_fill(own[:, 0], 0)
        return EdgeMix(torch.where(own, weights, edges.weights), active, edges.ones, shift)

    def _constants(self, kind: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return which edges are decided, (edges, 1), and the op weights that they have; made once."""
        key = (kind, like.device, like.dtype)
        if key not in self._made:
            with torch.inference_mode(False):  # made once, they must be of use to training, too
                weights = torch.zeros(like.shape, dtype=like.dtype)
                for edge, row in enumerate(self.rows[kind]):
                    weights[edge, list(row or ())] = 1
                own = torch.tensor([[row is not None] for row in self.rows[kind]])
                self._made[key] = own.to(like.device), weights.to(like.device)
        return self._made[key]

    def to_json(self) -> dict[str, list[list[int] | None]]:
        """Return the decisions as plain data."""
        return {kind: [None if row is None else list(row) for row in rows] for kind, rows in self.rows.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[Sequence[int] | None]]) -> FixedEdges:
        """Return the decisions that `to_json` wrote."""
        return cls({kind: tuple(None if row is None else tuple(row) for row in rows) for kind, rows in data.items()})
