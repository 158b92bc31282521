"""How a process has ended, in one line."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))  # of the container, of the system


def memory_kills() -> int:
    """Return how many processes the system has killed so far because memory ran out; 0 where it does not say."""
    for file in _COUNTERS:
        with suppress(OSError):
            lines = [line.split() for line in file.read_text().splitlines()]
            if found := [int(count) for name, count in lines if name == "oom_kill"]:
                return found[0]
    return 0


def was_killed(status: int) -> bool:
    """Return whether a signal has ended a process; one that it heard makes an exit status of 128 and its number."""
    return status < 0 or status in (128 + number for number in (1, 2, 15))


def ending(status: int, errors: str, kills: int = 0) -> str:
    """Return how a process has ended: by its last line, or by a signal; `kills` for lack of memory came meanwhile."""
    if not was_killed(status):
        lines = [line for line in errors.splitlines() if line.strip()]
        return lines[-1].removeprefix("supernet: ") if lines else f"ended with exit status {status}"
    number = -status if status < 0 else status - 128
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number != signal.SIGKILL:
        return f"killed by {name}"
    if kills:
        return "killed by the system, as memory ran out: take fewer --workers or a smaller --batch-size"
    return f"killed by {name}; if memory ran out, take fewer --workers or a smaller --batch-size"
