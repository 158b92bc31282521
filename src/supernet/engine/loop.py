"""The training loop of all tasks: epochs, steps, checkpoints and interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from supernet.data import Batch, Batches
from supernet.engine.run import Run
from supernet.engine.signals import Interrupted, heard
from supernet.errors import UserError


class Task(Protocol):
    """A task that learns in steps; the length of its first stream is that of an epoch."""

    streams: Mapping[str, Batches]

    @property
    def epochs(self) -> int:
        """The number of epochs."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch number `epoch`, counted from 0."""

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Learn from a batch of every stream; return scalar tensors, which are averaged over the epoch.

        A batch is drawn when its name is looked up.
        """

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Return the epoch's row of metrics, from the averages `means`; "best": True keeps this state as the best."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a run resumes exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""


class Watcher:
    """Receives the progress of a loop, and ignores it; subclasses show it."""

    def start(self, epochs: int, steps: int, done: int) -> None:
        """Receive the start of a loop of `epochs` x `steps` steps, of which `done` were done before."""

    def step(self) -> None:
        """Receive the end of a step."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Receive the end of an epoch, with its row of metrics."""

    def note(self, text: str) -> None:
        """Receive a line that says how the loop runs."""

    def say(self, text: str) -> None:
        """Receive a line that the user should see."""

    def stop(self) -> None:
        """Receive the end of the loop, finished or not."""


class LazyBatches(Mapping[str, Batch]):
    """The batches of one step; each is drawn from its stream when it is first looked up."""

    def __init__(self, streams: Mapping[str, Batches]) -> None:
        self._streams = streams
        self._drawn: dict[str, Batch] = {}

    def __getitem__(self, name: str) -> Batch:
        if name not in self._drawn:
            self._drawn[name] = self._streams[name].next()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)


class Loop:
    """Runs a task for some epochs; saves a checkpoint after every epoch, and every `save_every` seconds.

    After an epoch whose row of metrics has "best": True, the checkpoint is also kept as the best one. A loop on an
    unfinished run resumes from the last checkpoint; on a CPU the result is bit-identical to that of an uninterrupted
    run. Ctrl-C and the system's signals to end finish the step, save, and raise Interrupted; a second one has its usual
    effect at once.
    """

    def __init__(self, task: Task, run: Run, epochs: int, watcher: Watcher, save_every: float = 60.0) -> None:
        self.task, self.run, self.epochs, self.watcher, self.save_every = task, run, epochs, watcher, save_every
        self.steps = next(iter(task.streams.values())).steps
        self.epoch = self.done = 0  # epochs finished, and steps finished in the current one
        self.sums: dict[str, Tensor] = {}
        self.seconds = 0.0

    def __call__(self) -> None:
        """Run to the end; raises Interrupted, or UserError if a mean of the metrics is infinite or NaN."""
        with heard() as signals:
            self._resume()
            self.watcher.start(self.epochs, self.steps, self.epoch * self.steps + self.done)
            try:
                while self.epoch < self.epochs:
                    self._epoch(signals)
            finally:
                self.watcher.stop()

    def _epoch(self, signals: list[int]) -> None:
        if self.done == 0:  # otherwise the saved state is of a task that has begun the epoch
            self.task.begin_epoch(self.epoch)
        saved = time.monotonic()
        began = saved - self.seconds
        while self.done < self.steps:
            self._step()
            self.seconds = time.monotonic() - began
            if signals or time.monotonic() - saved > self.save_every:
                self._save()
                saved = time.monotonic()
            if signals:
                raise Interrupted(signals[0])
        self._end_epoch()

    def _step(self) -> None:
        metrics = self.task.step(LazyBatches(self.task.streams))
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.done += 1
        self.watcher.step()

    def _end_epoch(self) -> None:
        began = time.monotonic()
        means = {name: value.item() / self.steps for name, value in self.sums.items()}  # waits for the GPU
        if not all(math.isfinite(value) for value in means.values()):
            epoch = self.epoch + 1
            raise UserError(f"the loss is no longer a number in epoch {epoch}: try a lower learning rate (--w.lr)")
        metrics = self.task.end_epoch(self.epoch, means)
        seconds = self.seconds + time.monotonic() - began
        row = {"epoch": self.epoch + 1} | metrics | {"seconds": round(seconds, 3)}
        self.run.log(row)
        self.epoch, self.done, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0
        self._save(best=row.get("best", False))
        self.watcher.epoch(row)

    def _save(self, *, best: bool = False) -> None:
        state = {
            "epoch": self.epoch,
            "done": self.done,
            "sums": self.sums,
            "seconds": self.seconds,
            "task": self.task.state_dict(),
            "streams": {name: stream.state_dict() for name, stream in self.task.streams.items()},
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        self.run.save_checkpoint(state, best=best)

    def _resume(self) -> None:
        state = self.run.load_checkpoint(self.watcher.say)
        with self.run.restoring():
            self.run.rewind(0 if state is None else state["epoch"])
        if state is None:
            return
        with self.run.restoring():
            self.epoch, self.done, self.seconds = state["epoch"], state["done"], state["seconds"]
            self.task.load_state_dict(state["task"])
            self.sums = dict(state["sums"])
            for name, stream in self.task.streams.items():
                stream.load_state_dict(state["streams"][name])
            torch.set_rng_state(state["rng"])
            if state["rng_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["rng_cuda"])
