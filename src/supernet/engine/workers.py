"""WorkerPool runs jobs in processes with a device each; SharedTensors are tensors that all of them can read."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from multiprocessing import get_context, parent_process
from typing import Any

import torch
from torch import Tensor

from supernet import registry
from supernet.engine.memory import keep_freed_memory
from supernet.engine.signals import ignore, ignored
from supernet.errors import UserError

_ALIGNED = 16  # bytes
Work = Callable[[Any], Any]
_work: Work  # of a worker process


class WorkerPool:
    """One process per device, which calls `make(device)` once and then the result with one job after another.

    Processes on the CPU share the threads of this one. All of them ignore Ctrl-C and its relatives, as the process that
    gives the jobs decides when to stop, and end with that process. `make`, jobs and results must be picklable.
    """

    def __init__(self, make: Callable[[torch.device], Work], devices: Sequence[torch.device]) -> None:
        context, threads = get_context("spawn"), max(1, torch.get_num_threads() // len(devices))
        start = [(_OwnModules(), make, device, threads) for device in devices]
        with ignored(), _current_folder_ignored():
            self._executors = [ProcessPoolExecutor(1, context, _start, arguments) for arguments in start]
            for executor in self._executors:
                executor.submit(int)  # starts the process
        self._processes = [process for executor in self._executors for process in executor._processes.values()]

    def __call__(self, jobs: Sequence[Any]) -> list[Any]:
        """Return the results of the jobs, at most one per process; raises UserError if a process has died.

        Jobs and results travel as bytes: a queue would put every tensor into a shared-memory file of its own.
        """
        try:
            pairs = zip(self._executors[: len(jobs)], jobs, strict=True)
            futures = [executor.submit(_run, pickle.dumps(job)) for executor, job in pairs]
            wait(futures)  # for all, so that after an error no process is still busy with an earlier job
            return [pickle.loads(future.result()) for future in futures]
        except BrokenProcessPool:
            reason = "is there memory for so many? A script must call search below: if __name__ == '__main__':"
            raise UserError(f"a worker process has ended{self._ending()}; {reason}") from None

    def _ending(self) -> str:
        """End the other processes, too, and return how the first that failed has ended."""
        for executor in self._executors:
            executor.shutdown()  # only then has every process an exit status
        code = next((process.exitcode for process in self._processes if process.exitcode), 0)
        return f" with exit status {code}" if code >= 0 else f" by {signal.Signals(-code).name}"


class _OwnModules:
    """Unpickled, it imports the modules that the user typed, which whatever is unpickled after it may need."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        return registry.import_again, (registry.OWN,)


def _start(own: object, make: Callable[[torch.device], Work], device: torch.device, threads: int) -> None:
    """Prepare a worker process."""
    global _work
    ignore()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(device)
    _work = make(device)


def _end_with_parent() -> None:
    """End this process when its parent has died; an executor's processes wait for jobs for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(job: bytes) -> bytes:
    return pickle.dumps(_work(pickle.loads(job)))


@contextmanager
def _current_folder_ignored() -> Iterator[None]:
    """Keep Python, in the processes that are started meanwhile, from looking for its modules in the current folder."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH")
        os.environ |= {} if before is None else {"PYTHONSAFEPATH": before}


def devices_of(device: torch.device, count: int) -> list[torch.device]:
    """Return the devices of `count` processes that share the work of one: for a GPU without a number all, in turn."""
    if device.type != "cuda" or device.index is not None:
        return [device] * count
    return [torch.device("cuda", number % torch.cuda.device_count()) for number in range(count)]


class SharedTensors:
    """Tensors with the shapes and dtypes of `like`, side by side in one block of shared memory."""

    def __init__(self, like: Sequence[Tensor]) -> None:
        self._layouts = [(x.shape, x.dtype, x.numel() * x.element_size()) for x in like]
        *self._starts, end = accumulate((-(-size // _ALIGNED) * _ALIGNED for *_, size in self._layouts), initial=0)
        self._memory = torch.empty(end, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "tensors"}

    @cached_property
    def tensors(self) -> list[Tensor]:
        """The tensors, on the CPU: views of the block."""
        layouts = zip(self._starts, self._layouts, strict=True)
        return [self._memory[at : at + size].view(dtype).view(shape) for at, (shape, dtype, size) in layouts]
