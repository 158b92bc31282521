"""Shared by the benchmarks: sides that take turns, the ratios of their times, tables, and the provenance of numbers.

All sides do the same work in different ways. On a CPU every side has a process of its own, so that no setting of one
side affects another; only one side computes at a time, while the others wait. Every round measures all sides one after
the other and takes the ratio of their times; the median ratio of the rounds is reported.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import supernet as sn
from supernet.engine.measure import seconds
from supernet.engine.memory import keep_freed_memory

T = TypeVar("T")
Work = Callable[[], Tensor | None]
"""The work that is timed. The sides must agree on the first result; None is not compared."""

Make = Callable[[], Mapping[str, Work]]
"""Builds all that a side needs, and returns its works by name."""

Proof = Mapping[str, NDArray[np.floating] | None]
Times = Mapping[str, list[float]]

HEAD = ("what", "compared", "first", "second", "ratio", "10 to 90 %", "n", "target")
_SPAWN = multiprocessing.get_context("spawn")
_CPU = torch.device("cpu")
_PAUSE = 0.02  # seconds between two sides: idle threads of the previous side stop spinning after a few milliseconds
_MOST = 50  # repeats in one measurement
_FEWEST = 3  # rounds


class Side:
    """A process that builds its works, runs each of them once, and times them on request."""

    def __init__(self, name: str, make: Make, threads: int, *, keeps: bool) -> None:
        self.name = name
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, make, threads, keeps), daemon=True)
        self._process.start()
        theirs.close()
        self.proof: Proof = self._receive()

    def time(self, work: str, budget: float) -> float:
        """Return the time of a work, see `milliseconds`."""
        time.sleep(_PAUSE)
        self._pipe.send((work, budget))
        found: float = self._receive()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            fail(f"side '{self.name}' has ended, exit code {self._process.exitcode}")


def _serve(pipe: Connection, make: Make, threads: int, keeps: bool) -> None:
    torch.set_num_threads(threads)
    if keeps:
        keep_freed_memory()
    works = make()
    pipe.send({name: plain(work()) for name, work in works.items()})
    while (request := pipe.recv()) is not None:
        name, budget = request
        pipe.send(milliseconds(works[name], _CPU, budget))


def plain(result: Tensor | None) -> NDArray[np.floating] | None:
    """Return the result of a work as an array."""
    return None if result is None else result.detach().float().cpu().numpy().copy()


@contextmanager
def sides(makes: Mapping[str, tuple[Make, bool]], threads: int) -> Iterator[dict[str, Side]]:
    """Start a process for each side, one after the other, and compare their results.

    `makes` holds for each side the function that builds its works, and whether its allocator keeps freed memory.
    """
    with ExitStack() as stack:
        started = {}
        for name, (make, keeps) in makes.items():
            started[name] = side = Side(name, make, threads, keeps=keeps)
            stack.callback(side.close)
        check_same({name: side.proof for name, side in started.items()})
        yield started


def apart(work: Callable[[], T], threads: int) -> T:
    """Return the result of `work`, done in a process of its own with the default allocator."""
    with ProcessPoolExecutor(1, _SPAWN, torch.set_num_threads, (threads,)) as pool:
        return pool.submit(work).result()


def milliseconds(work: Work, device: torch.device, budget: float) -> float:
    """Return the milliseconds of `work`, repeated for about `budget` seconds after one repeat that does not count.

    On a CPU this is the median; on a GPU it is the mean of repeats without synchronisation in between, as in training.
    """
    repeats = max(1, min(_MOST, int(budget / seconds(work, device))))
    if device.type == "cuda":
        return 1000 * seconds(work, device, repeats)
    return 1000 * statistics.median(seconds(work, device) for _ in range(repeats))


def take_turns(asks: Mapping[str, Callable[[], float]], rounds: int, most: float = math.inf) -> Times:
    """Measure the sides in turn, A B C A B C ..., and return the measurements of each side, one per round.

    After `most` seconds there are no more rounds than three.
    """
    times: dict[str, list[float]] = {name: [] for name in asks}
    end = time.monotonic() + most
    for number in range(rounds):
        if number >= _FEWEST and time.monotonic() > end:
            break
        for name, ask in asks.items():
            times[name].append(ask())
    return times


def check_same(proofs: Mapping[str, Proof], tolerance: float = 1e-3) -> None:
    """Exit with an error if the results of two sides differ by more than `tolerance`, see `difference`."""
    for first, one in proofs.items():
        for second, other in proofs.items():
            for work in one.keys() & other.keys():
                a, b = one[work], other[work]
                if a is not None and b is not None and not difference(a, b) <= tolerance:
                    fail(f"'{first}' and '{second}' differ in '{work}' by {difference(a, b):.1e}")


def difference(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the largest difference, relative to the largest number of `b` or 1; infinite for NaN or other shapes."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)))


def fail(message: str) -> NoReturn:
    """Print an error and exit with status 1."""
    sys.exit(f"error: {message}")


def row(what: str, times: Times, first: str, second: str, target: str = "") -> list[str]:
    """Return a line of the table: the medians of both sides, and the median and spread of first / second per round."""
    a, b = np.array(times[first]), np.array(times[second])
    low, middle, high = np.percentile(a / b, [10, 50, 90])
    spread = f"{low:.2f} to {high:.2f}" if len(a) > 1 else "one"
    medians = (f"{np.median(side):#.4g}" for side in (a, b))
    return [what, f"{first} / {second}", *medians, f"{middle:.2f}", spread, str(len(a)), target]


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    """Return the rows as a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)) + "\n"


def spread(values: Sequence[float]) -> str:
    """Return mean ± sample standard deviation."""
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def where(device: torch.device = _CPU, threads: int | None = None) -> str:
    """Return the provenance of the numbers: machine, versions, date and command."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    parts = [
        f"{_processor()}, {cores} cores, {threads or torch.get_num_threads()} threads, load {load:.1f} at the start"
    ]
    if device.type == "cuda":
        parts.append(f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}")
        parts.append(f"cuDNN {torch.backends.cudnn.version()}")
    parts += [f"PyTorch {torch.__version__}", f"Python {platform.python_version()}", f"supernet {sn.__version__}"]
    command = shlex.join(["python", *sys.argv])
    return f"{', '.join(parts)}; {platform.platform()}; {date.today()}\n\n`{command}`\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
