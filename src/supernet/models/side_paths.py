"""Side paths: what reaches the nodes of a supernet's cell beside the candidate operations.

Partial channels (PC-DARTS: Xu et al., ICLR 2020, arXiv 1907.05737): the candidates of an edge see 1/K of the channels,
the others pass by, through a 2x2 max-pooling where the edge halves the image; the two are joined and their channels
shuffled in K groups. With the weight b of an edge and the mix of its candidates,

    node j = sum over edges i->j of b * shuffle([mix(first channels of node i), pass(other channels of node i)])

Auxiliary skip (DARTS-: Chu et al., ICLR 2021, arXiv 2009.01027): every edge adds beta times a skip connection that is
no candidate, with a weight beta that the method sets; where the edge halves the image it is a factorised reduction, and
where it changes only the channels ReLU, a 1x1 convolution and batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.models.mix import EdgeMix
from supernet.spaces.cell import Cell
from supernet.spaces.modules import FactorizedReduce, Norm, ReLUConvBN, zeros


@dataclass(frozen=True)
class CellOptions:
    """What a supernet's cells have beside their candidates.

    - `partial`: the candidates see one in so many channels; 1 shows them all.
    - `auxiliary_skip`: whether every edge has a skip connection that is no candidate.
    - `dropout`: the operations whose outputs pass a dropout, at the rate of `Supernet.dropout`.
    """

    partial: int = 1
    auxiliary_skip: bool = False
    dropout: tuple[str, ...] = ()

    @property
    def side_paths(self) -> bool:
        """Whether anything reaches the nodes beside the candidates."""
        return self.partial > 1 or self.auxiliary_skip


PLAIN = CellOptions()
"""The options of plain cells."""


class SidePaths(nn.Module):
    """The side paths of a cell with `channels`; `shapes` are the input channels and the stride of each edge.

    Raises UserError for partial channels that do not divide the channels of an edge.
    """

    def __init__(
        self, cell: Cell, options: CellOptions, channels: int, shapes: Sequence[tuple[int, int]], norm: Norm
    ) -> None:
        super().__init__()
        self.cell, self.partial, self.channels = cell, options.partial, channels
        self.strides = [stride for _, stride in shapes]
        if channels % self.partial:
            raise UserError(
                f"setting partial {self.partial} must divide the {channels} channels of a cell: see --width"
            )
        if self.partial > 1 and any(cin != channels for cin, _ in shapes):
            raise UserError("partial channels need a space whose cells have as many channels as their inputs")
        self.skips: nn.ModuleList | None = None
        if options.auxiliary_skip:
            self.skips = nn.ModuleList(
                _skip(cin // self.partial, channels // self.partial, stride, norm) for cin, stride in shapes
            )


def _skip(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
    if stride == 1 and cin == cout:
        return nn.Identity()
    return FactorizedReduce(cin, cout, norm) if stride == 2 else ReLUConvBN(cin, cout, 1, norm=norm)


class SidePass:
    """The side paths of one forward pass, which goes through the nodes of a cell in order.

    `nodes` is the cell's own list. A node that is complete holds the channels that the candidates read, and `whole` has
    all of its channels; both are None if nothing leads to it.
    """

    def __init__(self, paths: SidePaths, nodes: list[Tensor | None], mix: EdgeMix) -> None:
        self.paths, self.nodes, self.mix = paths, nodes, mix
        self.whole: list[Tensor | None] = [None] * len(nodes)
        self.passed: list[Tensor | None] = [None] * len(nodes)
        self.done = 0

    def complete(self, end: int) -> None:
        """Complete the nodes before number `end`, into which all candidates have been summed."""
        while self.done < end:
            self._complete(self.done)
            self.done += 1

    def _complete(self, node: int) -> None:
        value = self._joined(node) if self.paths.partial > 1 and node >= self.paths.cell.inputs else self.nodes[node]
        self.whole[node] = self.nodes[node] = value
        if value is None:
            return
        x, rest = value, None
        if self.paths.partial > 1:
            first = self.paths.channels // self.paths.partial
            x, rest = value[:, :first].contiguous(memory_format=torch.channels_last), value[:, first:]
            self.nodes[node] = x
        for e, edge in enumerate(self.paths.cell.edges):
            if edge.source == node and (self.mix.active is None or self.mix.active[e]):
                self._pass(e, edge.target, x, rest)

    def _pass(self, e: int, target: int, x: Tensor, rest: Tensor | None) -> None:
        """Add what passes the candidates of an edge to its target."""
        if rest is not None:
            halved = F.max_pool2d(rest, 2, 2, ceil_mode=True) if self.paths.strides[e] == 2 else rest
            part = halved if self.mix.edges is None else halved * self.mix.edges[e].to(rest.dtype)
            self.passed[target] = _sum(self.passed[target], part)
        if self.paths.skips is not None and self.mix.auxiliary is not None:
            self.nodes[target] = _sum(self.nodes[target], self.mix.auxiliary.to(x.dtype) * self.paths.skips[e](x))

    def _joined(self, node: int) -> Tensor | None:
        """Return a node's channels, those of the candidates and those that passed by, shuffled."""
        mixed, passed = self.nodes[node], self.passed[node]
        if mixed is None and passed is None:
            return None
        first = self.paths.channels // self.paths.partial
        like = mixed if passed is None else passed
        assert like is not None
        mixed = zeros(like, first, 1) if mixed is None else mixed
        passed = zeros(like, self.paths.channels - first, 1) if passed is None else passed
        return F.channel_shuffle(torch.cat([mixed, passed], dim=1), self.paths.partial)


def _sum(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
