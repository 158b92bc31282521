"""NetworkSize: how large a network is and for which images; and the layers that a skeleton cut to it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 32  # pixels of the shorter side that the first cell works on at most


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network and of the images it is for.

    - `width`: channels of the first stage; `depth`: cells per stage. The skeleton says what a stage is.
    - `image_size`: height and width of an image, in pixels; `channels` and `classes` are the data's.
    - `stem`: how often the stem halves the image; None halves it until its shorter side is at most 32.
    - `reductions`: how many of the space's reductions halve the resolution, the others keeping it; None is as many as
      leave at least 2 pixels.
    """

    width: int = 16
    depth: int = 5
    image_size: tuple[int, int] = (32, 32)
    channels: int = 3
    classes: int = 10
    stem: int | None = None
    reductions: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists: what `from_json` reads back."""
        return asdict(self) | {"image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NetworkSize:
        """Read what `to_json` wrote."""
        return cls(**{**data, "image_size": tuple(data["image_size"])})

    @property
    def halvings(self) -> int:
        """How often the stem halves the image."""
        if self.stem is not None:
            return self.stem
        side, count = min(self.image_size), 0
        while side > LARGEST:
            side, count = -(-side // 2), count + 1
        return count


@dataclass(frozen=True)
class Shape:
    """The shape of one image's features between two layers."""

    channels: int
    height: int
    width: int

    def at(self, channels: int, stride: int) -> Shape:
        """Return the shape behind a layer with that many channels and that stride."""
        return Shape(channels, -(-self.height // stride), -(-self.width // stride))

    def __str__(self) -> str:
        return f"{self.channels} channels of {self.height}x{self.width}"


@dataclass(frozen=True)
class StemAt:
    """Convolutions 3x3, as many as they halve the resolution, one if they do not; `first` reads the image."""

    channels: int
    halvings: int = 0
    first: bool = True


@dataclass(frozen=True)
class CellAt:
    """A searched cell of one kind: its nodes have `channels`, the edges from its inputs have the stride."""

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
    """The classifier; with `norm`, batch norm and ReLU come before the average over all pixels."""

    norm: bool = True


Layer = StemAt | CellAt | ReduceAt | HeadAt


@dataclass(frozen=True)
class PlacedLayer:
    """A layer with the shapes of what it reads and of what it gives."""

    layer: Layer
    inputs: tuple[Shape, ...]
    output: Shape


def last(outputs: Sequence[T], count: int) -> tuple[T, ...]:
    """Return the last `count` of the outputs; where there are fewer, the first one stands in for those before it."""
    return (*[outputs[0]] * (count - len(outputs)), *outputs[-count:])
