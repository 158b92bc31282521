"""Memory: how much of a device's memory is free, and keeping what this process has freed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 2**31 - 1
_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # of the container that this runs in, if it does


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of `device` that can still be had, None if it cannot be told.

    On a GPU what PyTorch holds in this process without using it is free, too; on the CPU so is what the system gives up
    when asked, and a container's limit counts.
    """
    if device.type == "cuda":
        unused: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu":
        return None
    return min((found for found in (_of_system(), _of_group()) if found is not None), default=None)


def _of_system() -> int | None:
    with suppress(OSError):
        for line in _SYSTEM.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    with suppress(AttributeError, ValueError, OSError):  # no such function, or no such name, on this system
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return None


def _of_group() -> int | None:
    with suppress(OSError, ValueError):  # no container, or "max"
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return limit - used + int(stat.get("inactive_file", 0))  # files in memory that nobody has read of late
    return None


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
