"""How many jobs run at a time on this machine, and the threads that run them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from supernet.data.limits import cores, free_bytes
from supernet.errors import UserError
from supernet.searching.compare.cases import Job
from supernet.searching.compare.worker import carry_out


class Local:
    """Runs jobs on this machine, by one thread for each worker; every GPU belongs to one worker."""

    def __init__(self, out: Path, workers: int, gpus: Sequence[str], say: Callable[[str], None]) -> None:
        self.out, self.workers, self._say, self._stop = out, workers, say, Event()
        self.where = f"{workers} worker{'s' if workers > 1 else ''}" + (", each on a GPU of its own" if gpus else "")
        self._gpus: SimpleQueue[str] = SimpleQueue()
        for gpu in gpus[:workers]:
            self._gpus.put(gpu)
        self._shared = {"OMP_NUM_THREADS": str(threads(workers))}
        self._has_gpus = bool(gpus)
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, job: Job) -> Future[str]:
        """Put a job into the queue."""
        return self._pool.submit(self._run, job)

    def _run(self, job: Job) -> str:
        gpu = self._gpus.get() if self._has_gpus else None
        try:
            own = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
            return carry_out(job, self.out, self._shared | own, self._stop, self._say)
        finally:
            if gpu is not None:
                self._gpus.put(gpu)

    def stop(self) -> None:
        """End all jobs."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)


def threads(workers: int) -> int:
    """Return the threads of one worker: its share of the cores, unless OMP_NUM_THREADS says otherwise."""
    return given_threads() or max(1, cores() // workers)


def given_threads() -> int:
    """Return the threads that OMP_NUM_THREADS asks for, 0 where it says nothing."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def may_be_gpu(device: str) -> bool:
    """Return whether a search on a device may take a GPU."""
    return device == "auto" or device.startswith("cuda")


def gpus_for(device: str) -> list[str]:
    """Return the names of the GPUs that searches on a device may take, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    if not may_be_gpu(device):
        return []
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = [name for name in names.split(",") if name] if names else list(map(str, range(torch.cuda.device_count())))
    if not torch.cuda.is_available():
        return []
    number = device.partition(":")[2]
    return [known[int(number)]] if number.isdigit() and int(number) < len(known) else known


def fitting(asked: int | None, jobs: int, gpus: Sequence[str], bytes_each: int) -> int:
    """Return how many jobs run at a time: `asked`, or as many as cores, GPUs and memory allow, at most `jobs`.

    Raises UserError for more than there are GPUs.
    """
    if asked is not None:
        if gpus and asked > len(gpus):
            raise UserError(f"every GPU belongs to one worker: of {len(gpus)} GPUs, take at most as many --workers")
        return asked
    free = None if gpus else free_bytes()
    room = jobs if free is None or not bytes_each else int(0.8 * free) // bytes_each
    return max(1, min(jobs, len(gpus) or cores(), room))
