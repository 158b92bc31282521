"""Memory: the free memory of a device, and a setting that keeps freed memory in this process."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_LARGEST = 2**31 - 1
_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # of the container, if there is one


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of `device`, None if they are unknown.

    On a GPU, memory that PyTorch has reserved in this process but does not use is free. On the CPU, memory that the
    system can reclaim is free, and the limit of a container applies.
    """
    if device.type == "cuda":
        unused: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu":
        return None
    return min((size for size in (_of_system(), _of_group()) if size is not None), default=None)


def _of_system() -> int | None:
    with suppress(OSError):
        for line in _SYSTEM.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    with suppress(AttributeError, ValueError, OSError):  # not on this system
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return None


def _of_group() -> int | None:
    with suppress(OSError, ValueError):  # no container, or no limit ("max")
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return limit - used + int(stat.get("inactive_file", 0))  # cached files, which can be reclaimed
    return None


def is_shortage(error: Exception) -> bool:
    """Return whether an error says that memory is short."""
    # PyTorch's allocator on a CPU, cuDNN and cuBLAS have no error class for a lack of memory.
    messages = ("DefaultCPUAllocator", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in messages)


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for later allocations; return whether the system supports it.

    Every step allocates and frees the same tensors. By default glibc returns large blocks to the system, which fills
    the pages with zeros when they are allocated again, and that takes longer than the arithmetic. Without glibc this
    does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _LARGEST) and mallopt(_MMAP_THRESHOLD, _LARGEST))
