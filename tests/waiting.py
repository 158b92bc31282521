"""Waiting for what another process does."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float, process: subprocess.Popen[str] | None = None) -> T:
    """Return what `found` returns once that is true; it has to be in so many seconds, while `process` runs."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def holder(run: Path) -> int | None:
    """Return the process that holds a run folder, None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        text = (run / ".holder").read_text()
        return int(text.split()[1]) if text.startswith("process") else None
    return None
