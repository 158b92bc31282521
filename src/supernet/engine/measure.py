"""Time that work takes on the device where it runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

_WARM_UP = 5  # passes before the first that counts
_LEAST = 5  # passes that count, however slow they are
_SECONDS = 10.0  # after which no further pass starts


@dataclass(frozen=True)
class Latency:
    """The time of a forward pass: half of the `repeats` passes took between `low` and `high`."""

    batch: int  # images in the pass
    median: float  # milliseconds
    low: float
    high: float
    repeats: int
    threads: int  # of PyTorch, on the CPU


@torch.no_grad()
def latency(module: nn.Module, x: Tensor, *, repeats: int = 50) -> Latency:
    """Time forward passes of `module` on the batch `x`, (B, ...), on their device, after 5 passes to warm up.

    No pass starts after ten seconds, except that at least 5 passes are timed.
    """
    for _ in range(_WARM_UP):
        _milliseconds(partial(module, x), x.device)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < repeats and (len(times) < _LEAST or time.perf_counter() < end):
        times.append(_milliseconds(partial(module, x), x.device))
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(len(x), median, low, high, len(times), torch.get_num_threads())


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Return the mean seconds of `work` over `repeats` runs in a row."""

    def all_runs() -> None:
        for _ in range(repeats):
            work()

    return _milliseconds(all_runs, device) / 1000 / repeats


def _milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds of `work`, including all that it starts on a GPU and nothing started before."""
    _synchronize(device)
    start = time.perf_counter()
    work()
    _synchronize(device)
    return 1000 * (time.perf_counter() - start)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
