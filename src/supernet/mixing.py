"""Mix, and the cell that runs it: every candidate of every edge, weighted and summed (reference execution)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from supernet.modules import Norm, zeros
from supernet.skeleton import edge_shape, projections
from supernet.spaces.base import SearchSpace
from supernet.spaces.frame import CellAt, Placed


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


def sparse(
    columns: Mapping[str, Sequence[int | None]], width: Mapping[str, int], device: torch.device | None = None
) -> Mix:
    """Return the mix that runs one candidate per edge with weight 1, and none on an edge whose column is None.

    `width` is the number of columns per kind.
    """
    mix = {}
    for kind, chosen in columns.items():
        numbers = torch.tensor([width[kind] if column is None else column for column in chosen], device=device)
        one_hot = nn.functional.one_hot(numbers, width[kind] + 1)[:, :-1].float()
        mix[kind] = EdgeMix(one_hot, tuple(() if column is None else (column,) for column in chosen))
    return mix


class MixedCell(nn.Module):
    """A cell with all its candidates: node j = sum over edges i->j and ops k of weight[e, k] * op[e, k](node i).

    This is the mixed operation of DARTS (Liu, Simonyan & Yang, 2019), eq. 2, with any weights in place of the softmax.
    `placed` is the cell's layer in the layout of the space.
    """

    def __init__(self, space: SearchSpace, placed: Placed, norm: Norm) -> None:
        super().__init__()
        layer = placed.layer
        assert isinstance(layer, CellAt)
        self.cell, self.channels, self.stride = space.cells[layer.kind], layer.channels, layer.stride
        self.inputs = projections(self.cell, placed, norm)
        primitives = [[space.primitive(op) for op in edge.ops] for edge in self.cell.edges]
        shapes = [edge_shape(self.cell, placed, edge.source) for edge in self.cell.edges]
        self.ops = nn.ModuleList(
            nn.ModuleList(p.build(cin, self.channels, stride, norm) for p in row)
            for row, (cin, stride) in zip(primitives, shapes, strict=True)
        )
        # An operation that outputs nothing is left out: its output and its weight's gradient are zero either way.
        self._runs = tuple(tuple(k for k, p in enumerate(row) if not p.zero) for row in primitives)

    def forward(self, inputs: Sequence[Tensor], mix: EdgeMix) -> Tensor:
        """Map the outputs of the layers before, (B, C, H, W) each, to (B, C, H, W) as the layout says."""
        weights = [row.unbind() for row in mix.weights.to(inputs[0].dtype).unbind()]
        nodes: list[Tensor | None] = [project(x) for project, x in zip(self.inputs, inputs, strict=True)]
        nodes += [None] * (self.cell.nodes - len(nodes))  # None: nothing has reached the node
        empty = partial(zeros, inputs[-1], self.channels)
        for e, edge in enumerate(self.cell.edges):  # sorted by target, so that a source is complete before it is read
            for k in self._runs[e] if mix.active is None else mix.active[e]:
                if k in self._runs[e]:
                    source = nodes[edge.source]
                    part = self.ops[e][k](empty(self.stride) if source is None else source) * weights[e][k]  # type: ignore[index]
                    total = nodes[edge.target]
                    nodes[edge.target] = part if total is None else total + part
        ends = nodes[-self.cell.parts :]
        return torch.cat([empty(self.stride) if end is None else end for end in ends], dim=1)
