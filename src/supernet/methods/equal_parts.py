"""Shares of epochs: P-DARTS' stages, CDARTS' and NAO's iterations, of which a remainder comes late, and warm-ups."""

from __future__ import annotations

import math


def start_of(part: int, epochs: int, parts: int) -> int:
    """Return the first epoch of a part, counted from 0; that of the part after the last is `epochs`."""
    return epochs * part // parts


def position(epoch: int, epochs: int, parts: int) -> tuple[int, int, int]:
    """Return the part that an epoch is in, the number of the epoch within this part, and the part's length."""
    part = max(number for number in range(parts) if start_of(number, epochs, parts) <= epoch)
    start = start_of(part, epochs, parts)
    return part, epoch - start, start_of(part + 1, epochs, parts) - start


def share_of(epochs: int, share: float) -> float:
    """Return a share of epochs, as a whole number where it differs from one by rounding alone: 0.28 of 25 is 7."""
    found = share * epochs
    return round(found) if math.isclose(found, round(found)) else found
