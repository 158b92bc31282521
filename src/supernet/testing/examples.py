"""Example spaces and images: small, quick to search, and irregular wherever a space may be."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet.data import Batch, Images
from supernet.spaces import Cell, Edge, SearchSpace, Stack, Stages
from supernet.spaces import space as space_named
from supernet.spaces.modules import Norm
from supernet.spaces.operations import Primitive
from supernet.spaces.shapes import CellAt, HeadAt, Layer, StemAt
from supernet.spaces.skeleton import MobileStages


class Depthwise(nn.Module):
    """An operation of a user's own: (B, cin, H, W) -> (B, cout, H/stride, W/stride), rounded up.

    Its parameter `gain` belongs to no layer, the module has no reset_parameters, and it makes its batch norm itself.
    """

    def __init__(self, cin: int, cout: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(cin, cout, 3, stride, padding=1, groups=math.gcd(cin, cout), bias=False)
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(cout, 1, 1))
        self.norm = nn.BatchNorm2d(cout, affine=norm.affine, track_running_stats=norm.track)

    def forward(self, x: Tensor) -> Tensor:
        """Return batch norm(gain * convolution(ReLU(x)))."""
        normed: Tensor = self.norm(self.conv(self.relu(x)) * self.gain)
        return normed


DEPTHWISE = Primitive("depthwise", Depthwise)


def ragged_space() -> SearchSpace:
    """Build a space with two kinds of cell, other candidates on each edge, and an operation of a user's own."""
    normal = (
        Edge(1, 0, ("skip_connect", "depthwise")),
        Edge(2, 0, ("none", "nor_conv_1x1", "avg_pool_3x3")),
        Edge(2, 1, ("depthwise", "nor_conv_1x1")),
    )
    return SearchSpace(
        name="ragged",
        cells={"normal": Cell(normal), "last": Cell((Edge(1, 0, ("nor_conv_3x3", "skip_connect", "none")),))},
        skeleton=Stages(("normal", "last")),
        primitives=(DEPTHWISE,),
    )


def two_input_space(nodes: int = 5) -> SearchSpace:
    """Build a small relative of DARTS: two inputs, reduction cells, two edges kept per node, `none` and noise.

    `nodes` are those of a normal cell, its inputs included.
    """
    ops = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
    reduce = (Edge(2, 0, ("noise", "dil_conv_3x3")), Edge(2, 1, ("skip_connect", "none")), Edge(3, 2, ("depthwise",)))
    return SearchSpace(
        name="two inputs",
        cells={
            "normal": Cell.dense(nodes, ops, inputs=2, output="concat", keep=2, project=True),
            "reduce": Cell(reduce, inputs=2, output="concat", keep=2, project=True),
        },
        skeleton=Stack(),
        primitives=(DEPTHWISE,),
        norm_pools=True,
    )


def macro_space() -> SearchSpace:
    """Build a chain of positions, each with its own candidates, channels and stride."""
    blocks = ("depthwise", "nor_conv_3x3")
    return SearchSpace.chain(
        "macro",
        [(blocks, 1, 1), (blocks, 2, 2), (("skip_connect", *blocks, "none"), 2, 1), (blocks[::-1], 3, 2)],
        primitives=(DEPTHWISE,),
    )


def branched_space(nodes: int = 4) -> SearchSpace:
    """Build a small relative of NAO's space: two branches per node, which may read the same earlier node.

    `nodes` are those of a normal cell, its inputs included.
    """
    ops = ("sep_conv_3x3", "avg_pool_3x3", "identity")
    reduce = (
        *(Edge(2, source, ("identity", "none"), branch) for source in (0, 1) for branch in (0, 1)),
        *(Edge(3, source, ("max_pool_3x3", "identity"), 0) for source in (0, 2)),
        *(Edge(3, source, ("nor_conv_1x1", "none"), 1) for source in (1, 2)),
    )
    return SearchSpace(
        name="branched",
        cells={
            "normal": Cell.dense(nodes, ops, inputs=2, output="unused", project="calibrate", branches=2),
            "reduce": Cell(reduce, inputs=2, output="unused", project="calibrate"),
        },
        skeleton=Stack(),
    )


@dataclass(frozen=True)
class NormalReduceNormal:
    """A short skeleton of DARTS' kind: each kind of cell reads layers of one resolution, and the last cell of two."""

    normal: str = "normal"
    reduce: str = "reduce"

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """Return stem, cells and head; `depth` and `stem` play no part."""
        cells = (CellAt(self.normal, width), CellAt(self.reduce, 2 * width, stride=2), CellAt(self.normal, 2 * width))
        return (StemAt(3 * width), *cells, HeadAt(norm=False))


def shortened(space: SearchSpace) -> SearchSpace:
    """Return the space with two stages at most, or with three cells of DARTS' kind: few layers, but of every kind.

    Of the stages of inverted residuals the first two are left, with two blocks at most. It is another space, of another
    name.
    """
    name = f"short-{space.name}"
    match space.skeleton:
        case Stages(stages):
            return replace(space, name=name, skeleton=Stages(stages[:2]))
        case Stack(normal, reduce):
            return replace(space, name=name, skeleton=NormalReduceNormal(normal, reduce))
        case MobileStages(positions):
            kinds = [positions[0].kind, positions[1].kind]
            cells = {kind: replace(space.cells[kind], edges=space.cells[kind].edges[:2]) for kind in kinds}
            short = replace(space.skeleton, positions=positions[:2], features=8)
            return replace(space, name=name, cells=cells, skeleton=short)
    return space


EXAMPLE_SPACES = tuple(
    map(shortened, (space_named("nasbench201"), ragged_space(), two_input_space(4), macro_space(), branched_space(3)))
)
"""The spaces that a method or a selector has to work in."""


def tiny_images(count: int = 48, side: int = 8) -> Images:
    """Return grey noise (count, 1, side, side) of three classes: a bright band at the top, the middle or the bottom.

    A mirrored image keeps its class.
    """
    g = torch.Generator().manual_seed(count)
    y = torch.arange(count) % 3
    x = torch.randint(0, 120, (count, 1, side, side), generator=g)
    for image, label in zip(x, y.tolist(), strict=True):
        image[:, label * side // 3 : (label + 1) * side // 3] += 130
    return Images.of("bands", (x.to(torch.uint8), y), ("top", "middle", "bottom"))


class PairDataset(Dataset[tuple[object, int]]):
    """Images of one channel as a torch Dataset of (array (H, W), label)."""

    def __init__(self, images: Images) -> None:
        self.images, self.classes = images, images.classes

    def __len__(self) -> int:
        return len(self.images.y)

    def __getitem__(self, index: int) -> tuple[object, int]:
        assert isinstance(self.images.x, Tensor)
        return self.images.x[index, 0].numpy(), int(self.images.y[index])


def noise_batch(seed: int, count: int = 6, side: int = 8, channels: int = 1, classes: int = 3) -> Batch:
    """Return a batch of float64 noise (count, channels, side, side) with random labels, for comparisons to rounding."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, channels, side, side, generator=g, dtype=torch.float64)
    return Batch(x, torch.randint(classes, (count,), generator=g), torch.arange(count))


def state_bytes(state: object) -> bytes:
    """Return a state as the bytes of a checkpoint: equal states give the same, whichever strings are one in memory."""

    def interned(value: Any) -> Any:
        if isinstance(value, dict):
            return {interned(name): interned(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(interned(part) for part in value)
        return sys.intern(value) if isinstance(value, str) else value

    file = io.BytesIO()
    torch.save(interned(state), file)
    return file.getvalue()
