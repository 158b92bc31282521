"""The lock of a run folder: one process at a time runs in it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from supernet.engine.files import open_no_link
from supernet.errors import UserError

LOCK, HOLDER = ".lock", ".holder"
_LONGEST = 200  # characters of the holder's line


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process out of an existing folder; raises UserError if one is in it, and says which.

    The system releases the lock when the process ends, however it ends; the empty file stays. Processes on several
    machines exclude each other as far as the network file system keeps `flock` between them: NFS from version 4 on
    does, one mounted with `nolock` or `local_lock` does not.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"run '{folder}' is in use by {_holder(folder)}: wait until it ends, or give another place with --out"
        ) from None
    try:
        with open_no_link(folder / HOLDER, "w") as file:
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            file.write(f"process {os.getpid()} on {platform.node()} since {now}")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        with (folder / HOLDER).open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST) or "another process"
    except OSError:  # it has not got so far yet, or just ended
        return "another process"


def is_locked(folder: Path) -> bool:
    """Return whether a process is in a folder; a process that enters at this very moment may be refused."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def seems_held(folder: Path) -> bool:
    """Return whether a process says that it is in a folder, and lives as far as this machine knows; takes no lock."""
    try:
        words = (folder / HOLDER).read_text(encoding="utf-8", errors="replace")[:_LONGEST].split()
    except OSError:
        return False
    if words[:1] != ["process"] or len(words) < 4 or words[3] != platform.node() or not words[1].isdigit():
        return True
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
