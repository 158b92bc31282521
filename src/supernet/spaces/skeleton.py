"""The skeletons: what cells are stacked in, as data. Any object with the method `plan` of `Skeleton` is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from supernet.errors import UserError, at_least
from supernet.spaces.size import CellAt, HeadAt, Layer, ReduceAt, StemAt


class Skeleton(Protocol):
    """The stack that cells stand in, for any width and depth."""

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers, from the stem to the head, with a stem that halves the image `stem` times.

        A cell reads the outputs of the layers before it, as many as it has inputs.
        """


def stems(channels: int, halvings: int, whole: int | None = None) -> tuple[StemAt, ...]:
    """Return the stem that halves the image so often: two halvings in the first layer, then one in each.

    `whole` is the channels of a stem that does not halve, if they are others.
    """
    if not halvings:
        return (StemAt(whole or channels),)
    return (StemAt(channels, min(halvings, 2)), *[StemAt(channels, 1, first=False)] * (halvings - 2))


@dataclass(frozen=True)
class Stages:
    """NAS-Bench-201's: one stage per kind of cell named, with a residual block between that doubles the channels.

    `depth` is the number of cells in a stage. Raises UserError if there is no stage.
    """

    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.kinds:
            raise UserError("a skeleton needs at least one stage")

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        layers: list[Layer] = [*stems(width, stem)]
        for number, kind in enumerate(self.kinds):
            if number:
                layers.append(ReduceAt(width << number))
            layers += [CellAt(kind, width << number)] * depth
        return (*layers, HeadAt())


@dataclass(frozen=True)
class Stack:
    """DARTS': three stages of `normal` cells, with one `reduce` cell between that doubles the channels.

    `depth` is the number of normal cells in a stage, so there are 3 depth + 2 cells: 8, 14 and 20 are depths 2, 4 and
    6, and the reductions are where DARTS has them, at one and two thirds. A stem that does not halve the image has
    `multiplier` times the channels.
    """

    normal: str = "normal"
    reduce: str = "reduce"
    multiplier: int = 3

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        cells: list[Layer] = []
        for number in range(3):
            if number:
                cells.append(CellAt(self.reduce, width << number, stride=2))
            cells += [CellAt(self.normal, width << number)] * depth
        return (*stems(width, stem, self.multiplier * width), *cells, HeadAt(norm=False))


@dataclass(frozen=True)
class Position:
    """One place of a chain: its kind of cell, its channels in multiples of the width, and its stride (1 or 2)."""

    kind: str
    channels: float
    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride not in (1, 2):
            raise UserError(f"position '{self.kind}' has stride {self.stride}; it can be 1 or 2")
        if not self.channels > 0:
            raise UserError(f"position '{self.kind}' has {self.channels} times the width in channels; give more than 0")


@dataclass(frozen=True)
class Chain:
    """A macro space's: positions one after the other, each with a choice of its own; `depth` plays no part.

    `stem` is the channels of the stem, in multiples of the width. Raises UserError if there is no position.
    """

    positions: tuple[Position, ...]
    stem: float = 1

    def __post_init__(self) -> None:
        if not self.positions:
            raise UserError("a chain needs at least one position")
        at_least(0, "chain.", stem=self.stem)

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        cells = [CellAt(p.kind, _times(p.channels, width), p.stride) for p in self.positions]
        return (*stems(_times(self.stem, width), stem), *cells, HeadAt())


def _times(multiple: float, width: int) -> int:
    return max(1, round(multiple * width))
