"""The layers that a skeleton plans, as data, and the shapes of the features that they read and return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """The shape of one image's features between two layers."""

    channels: int
    height: int
    width: int

    def at(self, channels: int, stride: int) -> Shape:
        """Return the output shape of a layer with these channels and this stride that reads the shape."""
        return Shape(channels, -(-self.height // stride), -(-self.width // stride))

    def __str__(self) -> str:
        return f"{self.channels} channels of {self.height}x{self.width}"


@dataclass(frozen=True)
class StemAt:
    """One 3x3 convolution per halving of the resolution, or a single one without; `first` marks the image's reader."""

    channels: int
    halvings: int = 0
    first: bool = True


@dataclass(frozen=True)
class CellAt:
    """A searched cell of one kind: its nodes have `channels`, and the edges from its inputs have the stride."""

    kind: str
    channels: int
    stride: int = 1


@dataclass(frozen=True)
class ReduceAt:
    """A fixed residual block."""

    channels: int
    stride: int = 2


@dataclass(frozen=True)
class HeadAt:
    """The classifier; with `norm`, batch norm and ReLU precede the global average pooling."""

    norm: bool = True


@dataclass(frozen=True)
class ConvAt:
    """A fixed convolution with batch norm and activation; with `pool`, a 3x3 maximum pooling halves its output."""

    channels: int
    kernel: int
    stride: int = 1
    activation: str = "relu"
    pool: bool = False


Layer = StemAt | CellAt | ReduceAt | HeadAt | ConvAt


@dataclass(frozen=True)
class PlacedLayer:
    """A layer with the shapes of its inputs and its output."""

    layer: Layer
    inputs: tuple[Shape, ...]
    output: Shape


def last(outputs: Sequence[T], count: int) -> tuple[T, ...]:
    """Return the last `count` outputs; where there are fewer, the first output is repeated in front."""
    return (*[outputs[0]] * (count - len(outputs)), *outputs[-count:])


def stage_ends(layout: Sequence[PlacedLayer]) -> list[int]:
    """Return the numbers of the last cell at each resolution but the last."""
    cells = [number for number, placed in enumerate(layout) if isinstance(placed.layer, CellAt)]
    sizes = {number: (layout[number].output.height, layout[number].output.width) for number in cells}
    return [number for number, after in pairwise(cells) if sizes[number] != sizes[after]]
