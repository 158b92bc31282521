"""Network: one architecture as a plain module, for training, evaluation and export; no search code runs in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supernet.genotype import Genotype
from supernet.modules import PLAIN
from supernet.skeleton import build_layer
from supernet.spaces import SearchSpace, space
from supernet.spaces.base import CellAt


class FixedCell(nn.Module):
    """A cell with one operation per edge: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, ops: list[tuple[int, int, nn.Module]]) -> None:
        super().__init__()
        self.links = [(target, source) for target, source, _ in ops]
        self.ops = nn.ModuleList(op for *_, op in ops)
        self.nodes = max(target for target, _ in self.links) + 1

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        states = [x] + [torch.zeros_like(x)] * (self.nodes - 1)
        for (target, source), op in zip(self.links, self.ops, strict=True):
            states[target] = states[target] + op(states[source])
        return states[-1]


def build(
    genotype: Genotype,
    *,
    width: int = 16,
    depth: int = 5,
    classes: int = 10,
    channels: int = 3,
    within: str | SearchSpace | None = None,
) -> nn.Sequential:
    """Build the network of `genotype`: (B, `channels`, H, W) -> logits (B, `classes`).

    `width` is the first stage's channels and `depth` the cells per stage; the defaults are NAS-Bench-201's. `within` is
    the space if it is your own; otherwise the genotype names it. Raises UserError if the space has no such one.
    """
    home = space(genotype.space if within is None else within)
    home.check(genotype)

    def cell(kind: str, at: int) -> FixedCell:
        return FixedCell([(c.target, c.source, home.primitive(c.op).build(at, 1, PLAIN)) for c in genotype[kind]])

    return nn.Sequential(
        *(
            cell(layer.kind, layer.channels) if isinstance(layer, CellAt) else build_layer(layer, channels, classes)
            for layer in home.skeleton.plan(width, depth)
        )
    )
