"""Memory: the free memory of a device, and a setting that keeps freed memory in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from supernet.data.limits import free_bytes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_LARGEST = 2**31 - 1
_LARGEST_OF_OLD = 32 * 2**20  # the largest threshold of mmap that glibc took before 2.35


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of `device`, None if they are unknown.

    On a GPU, memory that PyTorch has reserved in this process but does not use is free. On the CPU, memory that the
    system can reclaim is free, and the limit of a container applies.
    """
    if device.type == "cuda":
        unused: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return free_bytes() if device.type == "cpu" else None


def is_shortage(error: BaseException) -> bool:
    """Return whether an error says that memory has run out."""
    # PyTorch's allocator on a CPU, cuDNN, cuBLAS, and CUDA itself have no error class for a lack of memory.
    messages = ("DefaultCPUAllocator", "ALLOC_FAILED", "CUDA error: out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in messages)


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for later allocations; return whether the system supports it.

    Every step allocates and frees the same tensors. By default glibc returns large blocks to the system, which fills
    the pages with zeros when they are allocated again, and that takes longer than the arithmetic. Without glibc this
    does nothing.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    # The threshold of mmap first: that of trimming alone would fix the other one at 128 KiB, and map almost all tensors
    mapped = mallopt(_MMAP_THRESHOLD, _LARGEST) or mallopt(_MMAP_THRESHOLD, _LARGEST_OF_OLD)
    return bool(mapped and mallopt(_TRIM_THRESHOLD, _LARGEST))


def return_freed_memory() -> None:
    """Return the freed memory that this process keeps to the system; without glibc this does nothing."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return None
    return found
