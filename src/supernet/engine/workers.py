"""WorkerPool: processes that share a job, each with a device of its own; what is large goes to them through shared memory.

They are started by "spawn", so what they are made of must be picklable. They hold on to nothing of the caller's but
their end of a pipe: when that is closed, also by the caller's death, they end. Ctrl-C does not reach them.
"""

from __future__ import annotations

import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, multiprocessing

from supernet.engine.memory import keep_freed_memory
from supernet.errors import UserError

_ALIGNED = 16  # bytes
Work = Callable[[Any], Any]


class WorkerPool:
    """A process for each of the `devices`, which makes `make(device)` once and calls it with one job after the other.

    The threads of this process are shared out among processes that compute on the CPU. Raises UserError if `make`
    cannot be pickled or a process ends too early.
    """

    def __init__(self, make: Callable[[torch.device], Work], devices: Sequence[torch.device]) -> None:
        threads = max(1, torch.get_num_threads() // len(devices))
        with _ctrl_c_ignored():
            self._members = [_Member(make, device, threads) for device in devices]

    def __call__(self, jobs: Sequence[Any]) -> list[Any]:
        """Do the jobs side by side, at most one for each process, and return what came of them, in their order."""
        members = self._members[: len(jobs)]
        for member, job in zip(members, jobs, strict=True):
            member.send(job)
        found = [member.receive() for member in members]  # all of them, so that no answer is left for the next jobs
        for result in found:
            if isinstance(result, Exception):
                raise result
        return found


def devices_of(device: torch.device, count: int) -> list[torch.device]:
    """Return the devices of `count` processes that share the work of one: of a GPU's all GPUs, in turn."""
    if device.type != "cuda":
        return [device] * count
    return [torch.device("cuda", number % torch.cuda.device_count()) for number in range(count)]


class SharedTensors:
    """Shared memory that holds tensors of the shapes and types of `like`: one piece, whatever their number."""

    def __init__(self, like: Sequence[Tensor]) -> None:
        self._kinds = [(x.shape, x.dtype, x.numel() * x.element_size()) for x in like]
        *self._starts, end = accumulate((-(-size // _ALIGNED) * _ALIGNED for *_, size in self._kinds), initial=0)
        self._memory = torch.empty(end, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "tensors"}

    @cached_property
    def tensors(self) -> list[Tensor]:
        """The tensors that lie in it, on the CPU."""
        kinds = zip(self._starts, self._kinds, strict=True)
        return [self._memory[at : at + size].view(dtype).view(shape) for at, (shape, dtype, size) in kinds]


class _Member:
    """A process, and our end of its pipe."""

    def __init__(self, make: Callable[[torch.device], Work], device: torch.device, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, make, device, threads), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, job: Any) -> None:
        try:
            self._pipe.send_bytes(pickle.dumps(job))  # not send(), which would share each tensor by a file of its own
        except OSError:
            raise self._gone() from None

    def receive(self) -> Any:
        try:
            return pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._gone() from None

    def _gone(self) -> UserError:
        self._process.join()
        reason = "is there memory for so many? A script must call search below: if __name__ == '__main__':"
        return UserError(f"a worker process has ended, exit status {self._process.exitcode}; {reason}")


def _serve(pipe: Connection, make: Callable[[torch.device], Work], device: torch.device, threads: int) -> None:
    """Do the jobs that come through the pipe until it is closed."""
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(device)
    work = make(device)
    while True:
        try:
            job = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        pipe.send_bytes(_answer(work, job))


def _answer(work: Work, job: Any) -> bytes:
    try:
        return pickle.dumps(work(job))
    except UserError as error:
        return pickle.dumps(error)
    except Exception:  # of any kind, and not always one that can be pickled: it is raised where the work was asked for
        return pickle.dumps(RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Let what is started here ignore Ctrl-C: the process that asks for the work decides when to stop."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
