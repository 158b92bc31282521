"""The lock of a run folder: one process at a time runs in it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from supernet.engine.files import open_no_link, plain_bytes
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
            f"folder '{folder}' is in use by {_holder(folder)}: wait until it ends, or give another place with --out"
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
    return _line(folder) or "another process"  # that has not got so far yet, or has just ended


def running(folder: Path) -> str | None:
    """Return who runs in a folder, as its files have it; None if nobody does.

    The lock is asked only where the line cannot tell: of another machine, which may be gone, as far as the lock holds
    between machines, and of a process that exists, whose number may be in use again.
    """
    holder = _line(folder)
    if holder is None:
        return None
    here = re.match(rf"process (\d+) on {re.escape(platform.node())} ", holder)
    if here and os.name == "posix":  # elsewhere signal 0 ends a process
        try:
            os.kill(int(here[1]), 0)
        except PermissionError:  # of a process of somebody else
            pass
        except (OSError, OverflowError):  # it was killed, and could not remove its line
            return None
    try:
        return holder if is_locked(folder) else None
    except OSError:  # the folder of somebody else, who alone may lock it
        return holder


def _line(folder: Path) -> str | None:
    return (plain_bytes(folder / HOLDER) or b"")[:_LONGEST].decode(errors="replace") or None


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
