"""Mix, and the cell that runs it: every candidate of every edge, weighted and summed (reference execution)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.modules import Norm
from supernet.spaces.base import Cell, SearchSpace


@dataclass(frozen=True)
class EdgeMix:
    """The op weights of one kind of cell.

    - `weights`: (edges, columns), with or without gradient.
    - `active`: per edge, the columns that run; the others cost nothing. None runs every candidate.
    """

    weights: Tensor
    active: tuple[tuple[int, ...], ...] | None = None


Mix = Mapping[str, EdgeMix]
"""What a forward pass needs to know of the architecture: per kind of cell, its op weights."""


def dense(weights: Mapping[str, Tensor]) -> Mix:
    """Return the mix that runs every candidate with the given weights, (edges, columns) per kind."""
    return {kind: EdgeMix(value) for kind, value in weights.items()}


def detached(mix: Mix) -> Mix:
    """Return the same mix without gradient."""
    return {kind: EdgeMix(edges.weights.detach(), edges.active) for kind, edges in mix.items()}


def sparse(columns: Mapping[str, Sequence[int]], width: Mapping[str, int], device: torch.device | None = None) -> Mix:
    """Return the mix that runs one candidate per edge with weight 1; `width` is the number of columns per kind."""
    mix = {}
    for kind, chosen in columns.items():
        one_hot = nn.functional.one_hot(torch.tensor(chosen, device=device), width[kind]).float()
        mix[kind] = EdgeMix(one_hot, tuple((column,) for column in chosen))
    return mix


class MixedCell(nn.Module):
    """A cell with all its candidates: node j = sum over edges i->j and ops k of weight[e, k] * op[e, k](node i).

    This is the mixed operation of DARTS (Liu, Simonyan & Yang, 2019), eq. 2, with any weights in place of the softmax.
    """

    def __init__(self, space: SearchSpace, cell: Cell, channels: int, norm: Norm) -> None:
        super().__init__()
        self.edges = cell.edges
        self.nodes = cell.nodes
        primitives = [[space.primitive(op) for op in edge.ops] for edge in cell.edges]
        self.ops = nn.ModuleList(nn.ModuleList(p.build(channels, 1, norm) for p in row) for row in primitives)
        # An operation that outputs nothing is left out: its output and its weight's gradient are zero either way.
        self._runs = tuple(tuple(k for k, p in enumerate(row) if not p.zero) for row in primitives)

    def forward(self, x: Tensor, mix: EdgeMix) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        weights = [row.unbind() for row in mix.weights.to(x.dtype).unbind()]
        states: list[Tensor | None] = [x, *[None] * (self.nodes - 1)]  # None: nothing has reached the node
        for e, edge in enumerate(self.edges):  # sorted by target, so that a source is complete before it is read
            for k in self._runs[e] if mix.active is None else mix.active[e]:
                if k in self._runs[e]:
                    part = self.ops[e][k](_or_zeros(states[edge.source], x)) * weights[e][k]  # type: ignore[index]
                    total = states[edge.target]
                    states[edge.target] = part if total is None else total + part
        return _or_zeros(states[-1], x)


def _or_zeros(state: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if state is None else state
