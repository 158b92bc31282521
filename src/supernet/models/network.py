"""Network: one architecture as a module of its own, for training, evaluation and export, without any search code."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.models.cost.count import cost
from supernet.models.cost.memory import check_memory
from supernet.models.layers import (
    AuxiliaryHead,
    auxiliary_layer,
    build_layer,
    edge_shape,
    projections,
    shortened,
)
from supernet.spaces import SearchSpace, architecture
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import PLAIN, drop_path, zeros
from supernet.spaces.residual import Residual
from supernet.spaces.shapes import CellAt, PlacedLayer, last
from supernet.spaces.size import NetworkSize


class FixedCell(nn.Module):
    """A cell with one operation on each edge of the architecture."""

    def __init__(self, space: SearchSpace, placed: PlacedLayer, genotype: Genotype) -> None:
        super().__init__()
        layer = placed.layer
        assert isinstance(layer, CellAt)
        self.cell, self.channels, self.stride = space.cells[layer.kind], layer.channels, layer.stride
        self.inputs = projections(self.cell, placed, PLAIN)
        self.ends = self.cell.ends({choice.source for choice in genotype[layer.kind]})
        self.shortened = shortened(self.cell, placed, PLAIN, [n for n in self.ends if n < self.cell.inputs])
        choices = [c for c in genotype[layer.kind] if not space.primitive(c.op).zero]
        self.links = [(choice.target, choice.source) for choice in choices]
        reached = {target for target, _ in self.links}
        self.empty = [n for n in range(self.cell.inputs, self.cell.nodes) if n not in reached]  # nodes
        shapes = [edge_shape(self.cell, placed, choice.source) for choice in choices]
        self.ops = nn.ModuleList(
            space.primitive(choice.op).module(cin, self.channels, stride, PLAIN)
            for choice, (cin, stride) in zip(choices, shapes, strict=True)
        )

    def forward(self, inputs: Sequence[Tensor], dropped: float = 0.0) -> Tensor:
        """Map the outputs of the layers before to (B, C, H, W), with drop-path of probability `dropped`."""
        states = {node: project(x) for node, (project, x) in enumerate(zip(self.inputs, inputs, strict=True))}
        states |= {node: zeros(inputs[-1], self.channels, self.stride) for node in self.empty}
        for (target, source), op in zip(self.links, self.ops, strict=True):
            part = op(states[source], dropped) if isinstance(op, Residual) else op(states[source])
            if dropped and not isinstance(op, nn.Identity | Residual):
                part = drop_path(part, dropped)
            states[target] = states[target] + part if target in states else part
        for number, reduce in self.shortened.items():
            states[int(number)] = reduce(states[int(number)])
        return torch.cat([states[end] for end in self.ends], dim=1)


class Network(nn.Module):
    """The standalone network of one architecture: (B, channels, H, W) -> logits (B, classes).

    - `auxiliary`: adds a second classifier behind layer 2L/3 of the L layers between stem and head, for `both`.
    - `drop_path`: the probability that an operation's output for an image is dropped, in training.
    - `dropout`: the probability that a feature is dropped before the classifier, in training.

    Raises UserError if the genotype is not of the space or the network size does not suit the space.
    """

    def __init__(
        self, space: SearchSpace, genotype: Genotype, network_size: NetworkSize, *, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.space, self.genotype, self.network_size = space, space.check(genotype), network_size
        self.drop_path = self.dropout = 0.0
        layout = space.layout(network_size, genotype)
        self.layers = nn.ModuleList(
            FixedCell(space, placed, genotype) if isinstance(placed.layer, CellAt) else build_layer(placed)
            for placed in layout
        )
        self._branch = auxiliary_layer(layout)
        self.auxiliary = AuxiliaryHead(layout[self._branch].output, network_size.classes) if auxiliary else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.outputs(x)[-1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the auxiliary head's logits; the network must have been built with one."""
        assert self.auxiliary is not None
        outputs = self.outputs(x)
        return outputs[-1], self.auxiliary(outputs[self._branch])

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the outputs (B, C, H, W) of all layers, the features, and the logits (B, classes) as the last."""
        outputs: list[Tensor] = []
        for layer in self.layers:
            if isinstance(layer, FixedCell):
                dropped = self.drop_path if self.training else 0.0
                outputs.append(layer(last(outputs, len(layer.inputs)), dropped))
            elif self.dropout and self.training and layer is self.layers[-1]:
                outputs.append(self._head_with_dropout(outputs[-1]))
            else:
                outputs.append(layer(outputs[-1] if outputs else x))
        return outputs

    def _head_with_dropout(self, x: Tensor) -> Tensor:
        """Return the logits, with dropout before the classifier."""
        head = self.layers[-1]
        assert isinstance(head, nn.Sequential)
        logits: Tensor = head[-1](F.dropout(head[:-1](x), self.dropout))
        return logits


def build(
    genotype: Genotype | str | os.PathLike[str],
    *,
    width: int = 16,
    depth: int = 5,
    classes: int = 10,
    channels: int = 3,
    image_size: tuple[int, int] = (32, 32),
    stem: int | None = None,
    reductions: int | None = None,
    within: str | SearchSpace | None = None,
    auxiliary: bool = False,
) -> Network:
    """Build the network of `genotype`: (B, `channels`, `image_size`) -> logits (B, `classes`).

    `genotype` may also be the text of one, or a file that holds it, such as `genotype.json`. `NetworkSize` explains
    the other sizes; `width` and `depth` default to NAS-Bench-201's. `within` is the space if you made it yourself;
    otherwise the genotype names it. Raises UserError if the space has no such architecture, and for an operation of
    yours that does not fit.
    """
    network_size = NetworkSize(width, depth, image_size, channels, classes, stem, reductions)
    home, found = architecture(genotype, within)
    check_memory(home, network_size, genotype=found)
    if within is not None and home.primitives:
        cost(home, found, network_size)
    return Network(home, found, network_size, auxiliary=auxiliary)
