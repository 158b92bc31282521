"""The memory that reading images may take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from supernet.errors import UserError

VARIABLE = "SUPERNET_MEMORY_GB"
PIXELS_VARIABLE = "SUPERNET_MAX_PIXELS"
_PIXELS = 10**8  # of one picture: at 40 bytes each, 4 GB while it is resized
_SHARE = 0.8  # of the free memory
_STREAMED = 0.5  # of all memory: images that need more are streamed
_UNKNOWN = 8 * 10**9  # bytes, where the system does not say what is free
_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # of the container, if there is one


def check_size(needed: int, what: str, advice: str = "give fewer or smaller images") -> None:
    """Raise UserError, with the `advice`, if `what` needs more bytes than reading may take.

    That is SUPERNET_MEMORY_GB, an environment variable, in units of 10^9 bytes; without it, 80 % of the free memory.
    """
    given = _given()
    free = free_bytes()
    limit = given or (_UNKNOWN if free is None else _SHARE * free)
    if needed > limit:
        reason = f"{VARIABLE} allows" if given else "the free memory allows"
        sizes = f"{_gigabytes(needed)} of memory, but {reason} {_gigabytes(limit)}"
        raise UserError(f"{what} needs {sizes}: {advice}, or set {VARIABLE} to a larger number")


def is_for_streaming(needed: int) -> bool:
    """Return whether images that need so many bytes are better left on the disk, if their source can be streamed.

    That is above SUPERNET_MEMORY_GB; without it, above half of all memory, so that it is the same at any time.
    """
    total = min((size for size in (_line_of("MemTotal:"), _most_of_group()) if size is not None), default=2 * _UNKNOWN)
    return needed > (_given() or _STREAMED * total)


def _given() -> float | None:
    text = os.environ.get(VARIABLE)
    return 10**9 * _parsed(VARIABLE, text, "gigabytes") if text else None


def most_pixels() -> float:
    """Return the pixels that a picture may have at most: SUPERNET_MAX_PIXELS; without it, 100 million."""
    given = os.environ.get(PIXELS_VARIABLE)
    return _parsed(PIXELS_VARIABLE, given, "pixels") if given else _PIXELS


def _parsed(variable: str, text: str, unit: str) -> float:
    with suppress(ValueError):
        number = float(text)
        if 0 < number < float("inf"):
            return number
    raise UserError(f"{variable} must be a number of {unit} above 0, not '{text}'")


def _gigabytes(size: float) -> str:
    return f"{size / 10**9:,.3g} GB" if size < 10**12 else f"{size / 10**9:,.0f} GB"


def free_bytes() -> int | None:
    """Return the free bytes of main memory, None if they are unknown.

    Memory that the system can reclaim is free, and the limit of a container applies.
    """
    return min((size for size in (_of_system(), _of_group()) if size is not None), default=None)


def _of_system() -> int | None:
    found = _line_of("MemAvailable:")
    if found is None:
        with suppress(AttributeError, ValueError, OSError):  # not on this system
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return found


def _line_of(name: str) -> int | None:
    with suppress(OSError):
        for line in _SYSTEM.read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    return None


def _most_of_group() -> int | None:
    with suppress(OSError, ValueError):  # no container, or no limit ("max")
        return int((_GROUP / "memory.max").read_text())
    return None


def _of_group() -> int | None:
    most = _most_of_group()
    if most is None:
        return None
    with suppress(OSError, ValueError):
        used = int((_GROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return most - used + int(stat.get("inactive_file", 0))  # cached files, which can be reclaimed
    return None


def cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
