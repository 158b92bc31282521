"""Forecast: what a search will take in time and memory, from a few of its steps, before it is begun."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from supernet.data import Batch
from supernet.engine.cuda_graphs import EAGER
from supernet.engine.loop import as_planned
from supernet.engine.measure import peak_of, seconds
from supernet.engine.memory import free_memory
from supernet.searching.plan import Plan, plan
from supernet.searching.select import selector_on
from supernet.searching.task import EVALUATED, SearchTask

_TIMED = 5  # steps
# Of the bytes that are seen, asked for on a CPU: large searches let the process grow by 1.1 to 1.2 times as much
_ON_CPU = 1.25


@dataclass(frozen=True)
class Forecast:
    """What a search will take.

    - `step_seconds`: of one step of the last epoch (of NAO's, the last with a supernet) with the making of its batches,
      the mean of 5, or of as many as make what the method repeats; NaN if a step does not fit.
    - `valid_seconds`: of the measurement after each epoch, on the images held out.
    - `steps` per epoch, and `epochs`.
    - `peak_bytes`: of weights, gradients, optimizers and all else alive when a step, or the measurement, needs most; of
      one that does not fit, at least this. `free_bytes`: of the device before the search; None if it cannot be told.
    - `tuning`: epochs that the selector trains for after the search; its judging is not foreseen.
    - `left_out`: what the method does between epochs, in words, and is not foreseen either.
    - `fits`: whether there is enough. What is needed within an operation is seen on a GPU only, so of a CPU's memory a
      quarter more is asked for.
    """

    step_seconds: float
    valid_seconds: float
    steps: int
    epochs: int
    peak_bytes: int
    free_bytes: int | None
    fits: bool
    tuning: int = 0
    left_out: str = ""

    @property
    def epoch_seconds(self) -> float:
        """Of one epoch."""
        return self.steps * self.step_seconds + self.valid_seconds

    @property
    def seconds(self) -> float:
        """Of the whole search, without selection."""
        return self.epochs * self.epoch_seconds

    @property
    def tuning_seconds(self) -> float:
        """Of the training that selection does."""
        return self.tuning * self.epoch_seconds


def forecast(data: str | os.PathLike[str] | Dataset[Any] = "digits", **choices: Any) -> Forecast:
    """Take a few steps of a search in memory, and tell what all of it will take; nothing is written.

    `data` and `choices` are those of `supernet.search`, without `out`, `force`, `quiet` and `watcher`. Raises UserError
    for a choice that cannot be had.
    """
    return foresee(plan(data, **choices))


def foresee(plan: Plan) -> Forecast:
    """Tell what a planned search will take; the caller's random state stays as it was."""
    free = free_memory(plan.device)
    steps, epochs, peak = 0, plan.protocol.epochs, 0
    with as_planned(plan):
        try:
            task = SearchTask(plan)
            task.begin_epoch(task.method.longest)
            steps = _steps(task)
            trial = _Trial(task)
            peak = trial.guess()
            if _fits(peak, free, plan.device):
                return trial.forecast(free)
        except (MemoryError, RuntimeError) as error:
            if not _is_shortage(error):
                raise
            peak = max(peak, _reached(plan.device))
    return Forecast(math.nan, math.nan, steps, epochs, peak, free, fits=False)


class _Trial:
    """The first steps of a search."""

    def __init__(self, task: SearchTask) -> None:
        self.task, self.device = task, task.plan.device
        self.size = min(len(stream.next().y) for stream in task.streams.values())

    def step(self, images: int | None = None) -> None:
        """Take a step, on the first `images` of each batch or on all."""
        batches = {name: stream.next() for name, stream in self.task.streams.items()}
        self.task.step({name: Batch(*(part[:images] for part in batch)) for name, batch in batches.items()})

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def peak(self, work: Callable[[], object]) -> int:
        """Do `work` and return the bytes that it needs, with those of the search before."""
        return peak_of(work, self.device, _held(self.task))

    def guess(self) -> int:
        """Return the bytes that a step will need, on the straight line through two smaller ones; 0 on a GPU.

        Where the memory of a CPU is spent the system ends the process without a word. A GPU raises an error.
        """
        few, more = max(2, self.size // 8), max(3, self.size // 4)
        if self.device.type == "cuda" or more >= self.size:
            return 0
        self.step(few)  # makes the momentum, which counts from now on
        low, high = (self.peak(partial(self.step, images)) for images in (few, more))
        return low + (high - low) * (self.size - few) // (more - few)

    def forecast(self, free: int | None) -> Forecast:
        """Take whole steps, and tell."""
        period = self.task.method.period
        self.step()
        peak = self.peak(partial(self._steps, period))
        self._steps(EAGER - 1)  # the last of these is recorded, where steps are
        each = seconds(self.step, self.device, period * math.ceil(_TIMED / period))
        valid, measuring = self._measurement()
        peak = max(peak, measuring)
        fits = _fits(peak, free, self.device)
        tuning = selector_on(self.task).epochs
        return Forecast(
            each, valid, _steps(self.task), self.task.epochs, peak, free, fits, tuning, self.task.method.between_epochs
        )

    def _measurement(self) -> tuple[float, int]:
        """Return the seconds of the measurement after an epoch, and the bytes that it needs."""
        held_out = self.task.held_out
        if not held_out:
            return 0.0, 0
        images = min(held_out, EVALUATED)
        work = partial(self.task.valid_accuracy, images)
        peak = self.peak(work)
        return seconds(work, self.device) * held_out / images, peak


def _fits(peak: int, free: int | None, device: torch.device) -> bool:
    return free is None or peak * (_ON_CPU if device.type == "cpu" else 1) <= free


def _steps(task: SearchTask) -> int:
    return next(iter(task.streams.values())).steps


def _held(task: SearchTask) -> Iterator[Tensor]:
    """Return the tensors of a search between two steps; the images where they were brought to a GPU for it."""
    yield from (leaf for leaf in tree_leaves(task.state_dict()) if isinstance(leaf, Tensor))
    yield from (weight.grad for weight in task.method.weights if weight.grad is not None)
    if task.plan.device.type == "cuda":
        yield from (task.images.x, task.images.y)


def _is_shortage(error: Exception) -> bool:
    told = (
        "DefaultCPUAllocator",
        "ALLOC_FAILED",
    )  # of PyTorch, which has no error of its own for it; of cuDNN and cuBLAS
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(name in str(error) for name in told)


def _reached(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
