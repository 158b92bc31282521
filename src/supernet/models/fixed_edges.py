"""FixedEdges: the edges of a supernet whose operation is fixed already, while the others are still mixed.

Selection by perturbation (Wang et al., ICLR 2021, arXiv 2108.04392) turns a trained supernet into one architecture edge
by edge, and trains the supernet in between. A fixed edge runs its operation with weight 1, whatever the method's op
weights say; the op weights of the other edges stay as they are, and are not normalised again. The weights of whole
edges in PC-DARTS multiply a fixed edge as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from supernet.models.mix import EdgeMix, Mix
from supernet.spaces.search_space import SearchSpace

Row = tuple[int, ...] | None
"""The columns that run on one edge: one column, or none if the edge is left out; None if the edge is not fixed."""


@dataclass(frozen=True)
class FixedEdges:
    """For each kind of cell, one row per edge, in the order of the cell's edges."""

    rows: Mapping[str, tuple[Row, ...]]
    _constants: dict[tuple[str, torch.device, torch.dtype], tuple[Tensor, Tensor]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def none(cls, space: SearchSpace) -> FixedEdges:
        """Return the state in which no edge is fixed."""
        return cls({kind: (None,) * len(cell.edges) for kind, cell in space.cells.items()})

    @classmethod
    def where_single(cls, space: SearchSpace) -> FixedEdges:
        """Return the state in which the edges with a single candidate are fixed to it."""
        candidates = {kind: space.candidates(cell) for kind, cell in space.cells.items()}
        return cls({kind: tuple(tuple(c) if len(c) == 1 else None for c in rows) for kind, rows in candidates.items()})

    def fix(self, kind: str, edge: int, columns: Sequence[int]) -> FixedEdges:
        """Return a copy in which edge number `edge` is fixed to one column, or left out if `columns` is empty."""
        row = (*self.rows[kind][:edge], tuple(columns), *self.rows[kind][edge + 1 :])
        return FixedEdges({**self.rows, kind: row})

    def apply(self, mix: Mix) -> Mix:
        """Return `mix` with the fixed edges' op weights one-hot (0 for an edge left out) and without gradient."""
        return {kind: self._apply(kind, edges) for kind, edges in mix.items()}

    def _apply(self, kind: str, edges: EdgeMix) -> EdgeMix:
        rows = self.rows[kind]
        if all(row is None for row in rows):
            return edges
        fixed, weights = self._weights(kind, edges.weights)
        every = tuple(range(edges.weights.shape[1]))
        before = edges.active or (every,) * len(rows)
        active = tuple(old if row is None else row for old, row in zip(before, rows, strict=True))
        shift = None if edges.shift is None else edges.shift.masked_fill(fixed[:, 0], 0)
        return replace(edges, weights=torch.where(fixed, weights, edges.weights), active=active, shift=shift)

    def _weights(self, kind: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return which edges are fixed, (edges, 1), and their op weights, (edges, columns); both are made once."""
        key = (kind, like.device, like.dtype)
        if key not in self._constants:
            with torch.inference_mode(False):  # the tensors are kept for training steps, too
                weights = torch.zeros(like.shape, dtype=like.dtype)
                for edge, row in enumerate(self.rows[kind]):
                    weights[edge, list(row or ())] = 1
                fixed = torch.tensor([[row is not None] for row in self.rows[kind]])
                self._constants[key] = fixed.to(like.device), weights.to(like.device)
        return self._constants[key]

    def to_json(self) -> dict[str, list[list[int] | None]]:
        """Return the rows as plain data."""
        return {kind: [None if row is None else list(row) for row in rows] for kind, rows in self.rows.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[Sequence[int] | None]]) -> FixedEdges:
        """Return the fixed edges from the result of `to_json`."""
        return cls({kind: tuple(None if row is None else tuple(row) for row in rows) for kind, rows in data.items()})
