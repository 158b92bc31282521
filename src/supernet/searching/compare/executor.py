"""How many jobs run at a time on this machine, the threads that each has, and those that wait for them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from shutil import rmtree
from threading import Event
from typing import Any, NamedTuple

from supernet.data.limits import cores, free_bytes
from supernet.data.prepared import VARIABLE
from supernet.engine.signals import Interrupted
from supernet.errors import UserError
from supernet.searching.compare.commands import Job
from supernet.searching.compare.worker import carry_out

IMAGES = ".images"
_POLL = 0.5  # seconds


def carried_out(
    submit: Callable[[Job], Future[str]], jobs: Iterable[Job], signals: Sequence[int]
) -> Iterator[dict[str, str]]:
    """Carry out jobs; yield again and again why those that have ended meanwhile have failed, by their names.

    A job that has not failed has an empty reason. Raises Interrupted for the first of the signals that are `heard`.
    """
    pending = {submit(job): job.name for job in jobs}
    while pending:
        done, _ = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
        if signals:
            raise Interrupted(signals[0])
        yield {pending.pop(future): future.result() for future in done}


class Local:
    """Runs jobs on this machine, by one thread for each worker; every GPU belongs to one worker."""

    def __init__(
        self,
        out: Path,
        share: Share,
        gpus: Sequence[str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.out, self._say, self._stop = out, say, Event()
        workers, threads = self.workers, self.threads = share
        each = ", each on a GPU of its own" if gpus else f", {threads} thread{'s' * (threads > 1)} each"
        self.where = f"{workers} worker{'s' * (workers > 1)}{each}"
        self._gpus: SimpleQueue[str] = SimpleQueue()
        for gpu in gpus[:workers]:
            self._gpus.put(gpu)
        self._shared = {**environment, "OMP_NUM_THREADS": str(threads)}
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


@contextmanager
def sharing_images(out: Path, on: str) -> Iterator[dict[str, str]]:
    """Yield the variables by which the runs of this machine share their images, which lie in a folder till the end.

    What a comparison that was killed has left goes: the files that these images were read from may have changed.
    """
    folder = (out / IMAGES).absolute()
    rmtree(folder, ignore_errors=True)
    if on != "local":  # other machines would read them over the network
        yield {}
        return
    folder.mkdir(exist_ok=True)
    try:
        yield {VARIABLE: str(folder)}
    finally:
        rmtree(folder, ignore_errors=True)


class Share(NamedTuple):
    """How many jobs run at a time, and the threads of each."""

    workers: int
    threads: int


def shared_out(asked: int | None, jobs: int, most: int, kept: int, measured: Mapping[str, Any] | None) -> Share:
    """Return how many of at most `most` jobs run at a time on the processors, and with how many threads each.

    Threads are those of OMP_NUM_THREADS, else the share of the cores that `asked` workers leave, else the `kept` ones
    of runs before (0: there are none), since other threads would round otherwise. Where all of this says nothing, all
    jobs end first by what was `measured`: the seconds of an epoch with all cores and with one thread. With n threads it
    takes a + b/n seconds, and jobs do not slow each other down.
    """
    if fixed := _fixed(asked, kept):
        return Share(most if asked or given_threads() else max(1, min(most, cores() // fixed)), fixed)
    if asked or measured is None or cores() == 1:
        return Share(most, max(1, cores() // most))
    together, alone = float(measured["seconds"]), float(measured["seconds_of_one_thread"])
    parallel = (alone - together) / (1 - 1 / cores())

    def seconds(share: Share) -> float:
        return math.ceil(jobs / share.workers) * (alone - parallel + parallel / share.threads)

    shares = [Share(w, n) for w in range(most, 0, -1) for n in dict.fromkeys((1, max(1, cores() // w)))]
    return min(shares, key=seconds)  # of equal ones the first, which has most workers and fewest threads


def threads_each(asked: int | None, jobs: int, kept: int, gpus: int) -> int:
    """Return the threads of each run where runs are given seconds: most at a time end first, as each takes its time.

    Those of OMP_NUM_THREADS and the `kept` ones go first, as in `shared_out`; each of the `gpus` has one run at a time.
    """
    return _fixed(asked, kept) or max(1, cores() // min(jobs, asked or gpus or cores()))


def _fixed(asked: int | None, kept: int) -> int:
    return given_threads() or (0 if asked else kept)


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


def fitting(asked: int | None, jobs: int, gpus: Sequence[str], bytes_each: int, shared_bytes: int = 0) -> int:
    """Return how many jobs run at a time: `asked`, or as many as cores, GPUs and memory allow, at most `jobs`.

    `shared_bytes` are in memory once. Raises UserError for more than there are GPUs.
    """
    if asked is not None:
        if gpus and asked > len(gpus):
            raise UserError(f"every GPU belongs to one worker: of {len(gpus)} GPUs, take at most as many --workers")
        return min(asked, jobs)
    free = None if gpus else free_bytes()
    room = jobs if free is None or not bytes_each else (int(0.8 * free) - shared_bytes) // bytes_each
    return max(1, min(jobs, len(gpus) or cores(), room))
