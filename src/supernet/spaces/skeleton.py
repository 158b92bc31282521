"""The skeletons: the fixed stacks of layers around a space's cells, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from supernet.errors import UserError, at_least, is_whole, whole
from supernet.spaces.cell import names
from supernet.spaces.shapes import CellAt, ConvAt, HeadAt, Layer, ReduceAt, StemAt


class Skeleton(Protocol):
    """A stack of layers for any width and depth; any object with the method `plan` is one."""

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers from the stem, which halves the image `stem` times, to the head.

        A cell with n inputs reads the outputs of the n layers before it.
        """


def _stems(channels: int, halvings: int, whole: int | None = None) -> tuple[StemAt, ...]:
    """Return the stem layers: the first halves the image up to twice, every further one once.

    `whole` is the number of channels of a stem that does not halve, `channels` by default.
    """
    if not halvings:
        return (StemAt(whole or channels),)
    return (StemAt(channels, min(halvings, 2)), *[StemAt(channels, 1, first=False)] * (halvings - 2))


@dataclass(frozen=True)
class Stages:
    """NAS-Bench-201's skeleton: one stage of `depth` cells per kind, with residual blocks in between.

    A residual block halves the resolution and doubles the channels. Raises UserError if there is no stage.
    """

    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", names("a skeleton's stages", self.kinds))
        if not self.kinds:
            raise UserError("a skeleton needs at least one stage")

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        layers: list[Layer] = [*_stems(width, stem)]
        for number, kind in enumerate(self.kinds):
            if number:
                layers.append(ReduceAt(width << number))
            layers += [CellAt(kind, width << number)] * depth
        return (*layers, HeadAt())


@dataclass(frozen=True)
class Stack:
    """DARTS' skeleton: three stages of `depth` normal cells, with reduction cells in between that double the channels.

    Depths 2, 4 and 6 are DARTS' 8, 14 and 20 cells, with the reductions at one and two thirds. A stem that does not
    halve the image has `multiplier` times the channels. Raises UserError unless that is a whole number from 1.
    """

    normal: str = "normal"
    reduce: str = "reduce"
    multiplier: int = 3

    def __post_init__(self) -> None:
        whole("multiplier", self.multiplier)

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        cells: list[Layer] = []
        for number in range(3):
            if number:
                cells.append(CellAt(self.reduce, width << number, stride=2))
            cells += [CellAt(self.normal, width << number)] * depth
        return (*_stems(width, stem, self.multiplier * width), *cells, HeadAt(norm=False))


@dataclass(frozen=True)
class Position:
    """One position of a chain: its kind of cell, its channels in multiples of the width, and its stride (1 or 2)."""

    kind: str
    channels: float
    stride: int = 1

    def __post_init__(self) -> None:
        if not is_whole(self.stride) or self.stride not in (1, 2):
            raise UserError(f"position '{self.kind}' has stride {self.stride}; it can be 1 or 2")
        if not (isinstance(self.channels, Real) and 0 < self.channels < math.inf):
            raise UserError(f"position '{self.kind}' has {self.channels} times the width in channels; give more than 0")


@dataclass(frozen=True)
class Chain:
    """The skeleton of a macro space: a sequence of positions, each searched on its own; `depth` is ignored.

    `stem` is the number of channels of the stem, in multiples of the width. Raises UserError if there is no position.
    """

    positions: tuple[Position, ...]
    stem: float = 1

    def __post_init__(self) -> None:
        row = isinstance(self.positions, tuple | list) and all(isinstance(each, Position) for each in self.positions)
        if not row:
            raise UserError("the positions of a chain are Positions, in a tuple")
        if not self.positions:
            raise UserError("a chain needs at least one position")
        at_least(0, "chain.", stem=self.stem)
        object.__setattr__(self, "positions", tuple(self.positions))

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        cells = [CellAt(p.kind, _times(p.channels, width), p.stride) for p in self.positions]
        return (*_stems(_times(self.stem, width), stem), *cells, HeadAt())


@dataclass(frozen=True)
class MobileStages:
    """MobileNetV2's skeleton: a stage of `depth` cells per position, and a 1x1 convolution before the head.

    Of the halvings of the image in the stem, the first is the stem's; the next are those of the first positions with
    stride 2, which have stride 1 where none is left. The `last` positions with stride 2 always halve. At 224 pixels,
    with three halvings, every position has its stride.

    `stem` and `features`, the channels of stem and 1x1 convolution, are in multiples of the width.
    """

    positions: tuple[Position, ...]
    stem: float = 2
    features: float = 80
    last: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", tuple(self.positions))

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        halving = [number for number, p in enumerate(self.positions) if p.stride == 2]
        early = halving[: max(0, len(halving) - self.last)]
        moved = min(len(early), max(0, stem - 1))
        cells: list[Layer] = []
        for number, p in enumerate(self.positions):
            channels, stride = _times(p.channels, width), 1 if number in early[moved:] else p.stride
            cells += [CellAt(p.kind, channels, stride), *[CellAt(p.kind, channels)] * (depth - 1)]
        stems = _stems(_times(self.stem, width), stem - moved)
        return (*stems, *cells, ConvAt(_times(self.features, width), 1), HeadAt(norm=False))


def _times(multiple: float, width: int) -> int:
    return max(1, round(multiple * width))
