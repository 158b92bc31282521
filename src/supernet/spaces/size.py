"""NetworkSize: the width and depth of a network and the size of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LARGEST = 32  # pixels: the longest shorter side that the first cell works on by default


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network and of its images.

    - `width`: channels of the first stage; `depth`: cells per stage, as the skeleton counts stages.
    - `image_size`: height and width of an image, in pixels; `channels` and `classes` are those of the data.
    - `stem`: number of halvings of the image in the stem; None halves until the shorter side is at most 32 pixels.
    - `reductions`: number of the space's reductions that halve the resolution, the others keep it; None halves
      wherever at least 2 pixels are left.
    """

    width: int = 16
    depth: int = 5
    image_size: tuple[int, int] = (32, 32)
    channels: int = 3
    classes: int = 10
    stem: int | None = None
    reductions: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists that `from_json` reads back."""
        return asdict(self) | {"image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NetworkSize:
        """Build the size from the output of `to_json`."""
        return cls(**{**data, "image_size": tuple(data["image_size"])})

    @property
    def halvings(self) -> int:
        """The number of times that the stem halves the image."""
        if self.stem is not None:
            return self.stem
        side, count = min(self.image_size), 0
        while side > LARGEST:
            side, count = -(-side // 2), count + 1
        return count
