"""Epochs in nearly equal parts, as the stages of P-DARTS and the iterations of CDARTS are; a remainder comes late."""

from __future__ import annotations


def start_of(part: int, epochs: int, parts: int) -> int:
    """Return the first epoch of a part, counted from 0; that of the part after the last is `epochs`."""
    return epochs * part // parts


def position(epoch: int, epochs: int, parts: int) -> tuple[int, int, int]:
    """Return the part that an epoch is in, the number of the epoch within this part, and the part's length."""
    part = max(number for number in range(parts) if start_of(number, epochs, parts) <= epoch)
    start = start_of(part, epochs, parts)
    return part, epoch - start, start_of(part + 1, epochs, parts) - start
