"""Levels: how the values of a source of more than 8 bits become pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = tuple[int, int]
"""The values of a source of more than 8 bits that become 0 and 255: least and largest of its training images."""

FULL: Levels = (0, 2**16 - 1)
"""All values of 16 bits."""


def levels_of(low: int, high: int) -> Levels:
    """Return the levels of training images with these least and largest values: all 16 bits if they fill most."""
    return (low, high) if high - low < 2**15 else FULL


def levels_note(levels: Levels) -> str:
    """Return a phrase that says how pictures were read."""
    return f"16-bit values {levels[0]} to {levels[1]} read as black to white"


def to_bytes(values: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Return `values` of any shape as pixels: the lower level and all below become 0, the upper and all above 255.

    Equal levels make every pixel 0.
    """
    low, high = levels
    if high == low:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    return np.rint(scaled).clip(0, 255).astype(np.uint8)
