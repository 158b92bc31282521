"""Allocator: freed memory is kept for the next step, on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, and return whether that could be had.

    Every step allocates and frees the same tensors. glibc gives large ones back to the system each time, and fills the
    pages that it gets anew with zeros, one by one, which takes longer than the arithmetic. Elsewhere nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _LARGEST) and mallopt(_MMAP_THRESHOLD, _LARGEST))
