"""Forecasts: the time and memory of a search, measured on a few of its steps before the search begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from supernet.data import Batch, Streamed
from supernet.engine.cuda_graphs import EAGER
from supernet.engine.defaults import plain_torch
from supernet.engine.driving import as_planned, driving
from supernet.engine.loop import LazyBatches
from supernet.engine.measure import seconds
from supernet.engine.memory import free_memory, is_shortage, return_freed_memory
from supernet.engine.peak_memory import forget_peak_of_process, peak_of, peak_of_process
from supernet.searching.config import SearchCall
from supernet.searching.plan import Plan, planned
from supernet.searching.select import selector_on
from supernet.searching.task import EVALUATED, SearchTask
from supernet.settings import signature_of

_TIMED = 5  # steps
_RARE = 50  # steps between two measurements of a monitor, from which on these hardly cost anything
_DECODED = 512  # images of a stream
# Factor on the bytes of all tensors: the process of a large search grows by 1.1 to 1.2 times as much on a CPU
_ON_CPU = 1.25


@dataclass(frozen=True)
class Forecast:
    """The time and memory of a search.

    - `step_seconds`: of one step, its batches included: the mean of 5 steps, or of one period of the method's schedule
      and the monitor's if that is longer, in each of `Method.forecast_epochs`; of a stream at least the time to decode
      its images. NaN if a step does not fit into memory.
    - `valid_seconds`: of the measurement on the validation images after each epoch.
    - `steps` per epoch, and `epochs`.
    - `peak_bytes`: of weights, gradients, optimizers and every other tensor alive at the peak of a step or measurement;
      a lower bound if a step does not fit. `free_bytes`: of the device before the search; None if unknown.
    - `tuning`: epochs that the selector trains after the search; its evaluations are not forecast.
    - `step_passes`: batches that one step sends forward and backward through the supernet. NaN like the seconds.
    - `left_out`: work of the method between epochs, in words, which is not forecast either.
    - `may_stop`: whether the method, or the patience of the search, may end it before its last epoch.
    - `at_most`: whether the seconds and passes are upper bounds, since the first epochs of the method do less.
    - `process_bytes`: the most memory of this process during the steps, with Python, libraries and the work space of
      operations; None for a GPU, if a step does not fit, and where the system does not tell.
    - `fits`: whether memory suffices. Workspace of operations is seen on a GPU only, so a CPU needs a quarter more.
    """

    step_seconds: float
    valid_seconds: float
    steps: int
    epochs: int
    peak_bytes: int
    free_bytes: int | None
    fits: bool
    tuning: int = 0
    step_passes: float = math.nan
    left_out: str = ""
    may_stop: bool = False
    process_bytes: int | None = None
    at_most: bool = False

    @property
    def epoch_seconds(self) -> float:
        """The seconds of one epoch."""
        return self.steps * self.step_seconds + self.valid_seconds

    @property
    def seconds(self) -> float:
        """The seconds of the whole search, selection excluded."""
        return self.epochs * self.epoch_seconds

    @property
    def tuning_seconds(self) -> float:
        """The seconds of the training within selection."""
        return self.tuning * self.epoch_seconds


@signature_of(SearchCall)
@plain_torch()
def forecast(**settings: Any) -> Forecast:
    """Take a few steps of a search in memory and return the time and memory of the whole; nothing is written.

    The arguments are those of `supernet.search`; `out`, `force`, `resume_anyway`, `quiet`, `log`, `callbacks`, `table`
    and `front` play no part. Raises UserError for a setting that cannot be had.
    """
    driving(settings)
    for name in ("table", "front"):
        settings.pop(name, None)
    return foresee(planned(**settings))


def foresee(plan: Plan) -> Forecast:
    """Return the forecast of a planned search; the caller's random state stays as it was."""
    free = free_memory(plan.device)
    steps, epochs, peak = 0, plan.config.epochs, 0
    with as_planned(plan):
        try:
            task, parts = SearchTask(plan), list[Forecast]()
            for epoch in task.method.forecast_epochs:
                task.begin_epoch(epoch)
                steps = task.steps
                trial = _Trial(task)
                peak = trial.guess()
                if not _fits(peak, free, plan.device):
                    break
                parts.append(trial.forecast(free))
            else:
                return _mean(parts)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            peak = max(peak, _reached(plan.device))
    return Forecast(math.nan, math.nan, steps, epochs, peak, free, fits=False)


def _mean(parts: Sequence[Forecast]) -> Forecast:
    """Return the forecast of a search in equal parts."""
    return replace(
        parts[-1],
        step_seconds=fmean(part.step_seconds for part in parts),
        valid_seconds=fmean(part.valid_seconds for part in parts),
        step_passes=fmean(part.step_passes for part in parts),
        peak_bytes=max(part.peak_bytes for part in parts),
        process_bytes=max((part.process_bytes for part in parts if part.process_bytes), default=None),
        fits=all(part.fits for part in parts),
    )


class _Trial:
    """The first steps of a search."""

    def __init__(self, task: SearchTask) -> None:
        self.task, self.device = task, task.plan.device
        self.size = min(len(stream.next().y) for stream in task.streams.values())

    def step(self, images: int | None = None) -> None:
        """Take a step, on the first `images` of each batch or on all."""
        batches: Mapping[str, Batch] = LazyBatches(self.task.streams, self.task.streams)
        if images is not None:
            batches = {name: Batch(*(part[:images] for part in batch)) for name, batch in batches.items()}
        self.task.step(batches)

    @property
    def _period(self) -> int:
        """The number of steps after which the work of the method and of the monitor repeats."""
        watched = 1 if self.task.monitor is None else self.task.monitor.period
        return math.lcm(self.task.method.period, watched if watched < _RARE else 1)

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def peak(self, work: Callable[[], object]) -> int:
        """Do `work` and return its peak of memory in bytes, the tensors of the search included."""
        return peak_of(work, self.device, _held(self.task))

    def guess(self) -> int:
        """Return the bytes of a whole step, extrapolated from two smaller steps; 0 on a GPU.

        A system whose memory is spent ends the process without a word, so a CPU's is guessed first. A GPU raises.
        """
        few, more = max(2, self.size // 8), max(3, self.size // 4)
        if self.device.type == "cuda" or more >= self.size:
            return 0
        self.step(few)  # makes the momentum, which counts from now on
        low, high = (self.peak(partial(self.step, images)) for images in (few, more))
        return low + (high - low) * (self.size - few) // (more - few)

    def forecast(self, free: int | None) -> Forecast:
        """Take whole steps and return the forecast."""
        period = self._period
        self.step()
        before = self.task.passes.count
        peak = self.peak(partial(self._steps, period))
        passes = (self.task.passes.count - before) / period
        peak = max(peak, self.peak(self._measure))
        if self.device.type == "cpu":  # what follows takes the memory of a search, and no more
            return_freed_memory()
            forget_peak_of_process()
        self._steps(EAGER - 1)  # the last of these is recorded, where steps are
        each = seconds(self.step, self.device, period * math.ceil(_TIMED / period))
        each = max(each, self._decoding())
        valid = self._measurement_seconds()
        whole = peak_of_process() if self.device.type == "cpu" else None
        fits = _fits(peak, free, self.device)
        tuning = selector_on(self.task).epochs
        method, epochs = self.task.method, self.task.epochs
        monitor = "the eigenvalues of --monitor hessian" if self.task.plan.config.monitor == "hessian" else ""
        left_out = "; ".join(filter(None, [method.between_epochs, monitor]))
        more = tuning, passes, left_out, self.task.may_stop
        return Forecast(each, valid, self.task.steps, epochs, peak, free, fits, *more, whole, method.warms_up)

    def _decoding(self) -> float:
        """Return the seconds in which the images of a step are decoded, of a stream; timed steps have some ahead."""
        x = self.task.images.x
        if not isinstance(x, Streamed):
            return 0.0
        order = torch.arange(min(len(x), _DECODED))
        needed = sum(stream.size for stream in self.task.streams.values())
        return seconds(lambda: list(x.batches(order, len(order))), self.device, 1) * needed / len(order)

    def _measure(self) -> None:
        """Evaluate as after an epoch, on as many images as one call takes at most."""
        if self.task.validated:
            self.task.valid_accuracy(min(self.task.validated, EVALUATED))

    def _measurement_seconds(self) -> float:
        """Return the seconds of the measurement after an epoch."""
        validated = self.task.validated
        if not validated:
            return 0.0
        return seconds(self._measure, self.device) * validated / min(validated, EVALUATED)


def _fits(peak: int, free: int | None, device: torch.device) -> bool:
    return free is None or peak * (_ON_CPU if device.type == "cpu" else 1) <= free


def _held(task: SearchTask) -> Iterator[Tensor]:
    """Yield the tensors of a search between two steps, the images included where they were moved to a GPU."""
    yield from (leaf for leaf in tree_leaves(task.state_dict()) if isinstance(leaf, Tensor))
    yield from (weight.grad for weight in task.method.weights if weight.grad is not None)
    if task.plan.device.type == "cuda":
        yield from (part for part in (task.images.x, task.images.y) if isinstance(part, Tensor))


def _reached(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
