"""The group of processes that run one search or retraining together, from their start to their end.

They are started by torchrun, or by the option --processes. In a single process nothing here does anything.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from supernet.errors import UserError


@dataclass(frozen=True)
class _Group:
    number: int = 0  # of this process, counted from 0
    count: int = 1


_group = _Group()


SPOKEN = "SUPERNET_SPOKEN"  # names a file that the first process makes that says why all of them end
MEETING = "SUPERNET_MEETING"  # names a file in which processes started by --processes find each other
LAUNCHER = "SUPERNET_LAUNCHER"  # the number of the process that started these ones, by --processes
_LOST = (
    "one of the processes of this run has ended, which stops all of them; "
    "the same command goes on from the last checkpoint"
)
_LOST_WORDS = ("onnection", "roken pipe", "imed out", "remote process exited", "was aborted")  # of gloo and NCCL


def number() -> int:
    """Return the number of this process, counted from 0."""
    return _group.number


def count() -> int:
    """Return the number of processes that run together; 1 outside `joined` and within `alone`."""
    return _group.count


def started() -> bool:
    """Return whether torchrun, or a program like it, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextmanager
def joined() -> Iterator[bool]:
    """Run together with the other processes that were started with this one; yield whether this one is the first.

    Raises UserError where a script has initialised torch.distributed itself, if another process ends, and if gloo or
    NCCL cannot work.
    """
    if count() > 1 or not started():
        yield number() == 0
        return
    end_with_launcher()
    if dist.is_initialized():
        raise UserError("torch.distributed is initialised here: let supernet do it, or search in processes of its own")
    local, backend = int(os.environ.get("LOCAL_RANK", "0")), "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local % torch.cuda.device_count())
    store = _store()
    run = store.add(f"supernet runs of {os.environ['RANK']}", 1)  # a script may search again and again
    group = _Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        own = PrefixStore(f"supernet {run}", store)
        dist.init_process_group(backend, store=own, rank=group.number, world_size=group.count)
        with _as(group):
            yield group.number == 0
    except UserError:
        speaks_first()  # before the others lose this process, which alone knows why all of them end
        raise
    except (RuntimeError, dist.DistError) as error:
        if not _is_of_group(error):
            raise
        raise UserError(_told(error)) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@cache
def end_with_launcher() -> None:
    """End this process by SIGTERM, which saves the run, once the one that started it by --processes has been killed.

    Otherwise it waits for minutes at its start, or goes on where nobody sees it, in a folder that stays locked.
    """
    launcher = int(os.environ.get(LAUNCHER, "0"))
    if launcher:
        threading.Thread(target=_wait_for_end, args=(launcher,), daemon=True).start()


def _wait_for_end(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def alone() -> Iterator[None]:
    """Let this process work by itself for a while, as if there were no other."""
    with _as(_Group()):
        yield


@contextmanager
def _as(group: _Group) -> Iterator[None]:
    global _group
    before, _group = _group, group
    try:
        yield
    finally:
        _group = before


@cache
def _store() -> Any:
    if MEETING in os.environ:  # without a port, which torchrun's store opens to all machines
        return dist.FileStore(os.environ[MEETING], int(os.environ["WORLD_SIZE"]))  # type: ignore[attr-defined]
    store, _, _ = next(rendezvous("env://"))
    return store


def _told(error: BaseException) -> str:
    """Return in a line why the processes cannot go on together, with the first line of the error."""
    cause = (str(error) or type(error).__name__).splitlines()[0]
    lost = isinstance(error, dist.DistNetworkError | dist.DistStoreError)
    if lost or any(word in str(error) for word in _LOST_WORDS):
        return f"{_LOST} ({cause})"
    return f"the processes of this run cannot work together: {cause}"


def _is_of_group(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "onnection"))


@cache
def speaks_first() -> bool:
    """Return whether this process is the first to tell the user why all of them end, so that one line says it."""
    try:
        if SPOKEN in os.environ:
            Path(os.environ[SPOKEN]).touch(exist_ok=False)
            return True
        return not started() or _store().add("supernet has spoken", 1) == 1
    except FileExistsError:
        return False
    except (RuntimeError, dist.DistError):
        return True  # whoever kept the store has ended
