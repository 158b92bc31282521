"""The training loop of all tasks: epochs, steps, checkpoints and interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from supernet.data import Batch, Batches
from supernet.engine import processes
from supernet.engine.callbacks import Callback
from supernet.engine.optim import Within
from supernet.engine.run import Run
from supernet.engine.signals import Interrupted, heard
from supernet.engine.snapshots import Snapshots
from supernet.errors import UserError

_CPU = torch.device("cpu")


class Task(Protocol):
    """A task that learns in steps.

    One that goes back to earlier states has `snapshots`, whose `epochs` are part of its state. Where several processes
    work together, each gets its share of a batch, but all of one of a stream in `whole`.
    """

    streams: Mapping[str, Batches]
    whole: Collection[str] = ()
    snapshots: Snapshots | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs."""

    @property
    def steps(self) -> int:
        """The steps of an epoch: one pass of the first stream."""
        return next(iter(self.streams.values())).steps

    @property
    def finished(self) -> str:
        """Why the task ends after the epochs that are done; empty if it goes on. Part of the state."""
        return ""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch number `epoch`, counted from 0."""

    def begin_step(self, epoch: int, within: Within) -> None:
        """Prepare a step of `epoch`: set what follows from its place alone, which no state keeps."""

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

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back to a state that `state_dict` returned after `epoch` epochs; keep what is to outlive that."""
        self.load_state_dict(state)


class LazyBatches(Mapping[str, Batch]):
    """The batches of one step; each is drawn from its stream when it is first looked up."""

    def __init__(self, streams: Mapping[str, Batches], whole: Collection[str] = ()) -> None:
        self._streams, self._whole = streams, whole
        self._drawn: dict[str, Batch] = {}

    def __getitem__(self, name: str) -> Batch:
        if name not in self._drawn:
            batch = self._streams[name].next()
            self._drawn[name] = batch if name in self._whole else processes.share(batch)
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

    After the row of an epoch is written, the loop takes the snapshots that the task has asked for, then goes back if it
    has asked for that, and then saves. A roll-back restores all that a checkpoint holds, streams and random state
    included, but the number of epochs done: the next epoch has the next number. A process that is killed meanwhile
    resumes before the end of the epoch, where the earlier snapshots still are.

    The random state is that of the CPU and of `device`; on a GPU, each of several processes has its own `device`, and
    all have the state of the first one.
    """

    def __init__(
        self,
        task: Task,
        run: Run,
        epochs: int,
        callback: Callback,
        save_every: float = 60.0,
        *,
        device: torch.device = _CPU,
    ) -> None:
        self.task, self.run, self.epochs, self.callback, self.save_every = task, run, epochs, callback, save_every
        self.device = device
        self.steps = task.steps
        self.epoch = self.done = 0  # epochs finished, and steps finished in the current one
        self.sums: dict[str, Tensor] = {}
        self.seconds = 0.0
        self.snapshots = task.snapshots or Snapshots()
        self.before: dict[str, int] = {}  # the snapshots of the checkpoint before

    def __call__(self) -> None:
        """Run until the task or its last epoch is finished.

        Raises Interrupted, and UserError if a mean of the metrics is infinite or NaN or a snapshot is damaged.
        """
        with heard() as signals:
            self._resume()
            self.callback.start(self.epochs, self.steps, self.epoch * self.steps + self.done)
            try:
                while self.epoch < self.epochs and (self.done or not self._finished):
                    self._epoch(signals)
                (signal,) = processes.largest(signals[0] if signals else 0)
                if signal:  # it came after the last step, and the epoch is saved
                    raise Interrupted(signal)
            finally:
                self.callback.stop()
            self.run.keep_snapshots(self.snapshots.epochs)
            if reason := self._finished:
                self.callback.say(f"stopped after epoch {self.epoch}: {reason}")

    @property
    def _finished(self) -> str:
        """Why the task has finished after an epoch; it cannot have before the first one."""
        return self.task.finished if self.epoch else ""

    def _epoch(self, signals: list[int]) -> None:
        if self.done == 0:  # otherwise the saved state is of a task that has begun the epoch
            self.task.begin_epoch(self.epoch)
        saved = time.monotonic()
        began = saved - self.seconds
        while self.done < self.steps:
            self._step()
            self.seconds = time.monotonic() - began
            # In all processes after the same step
            signal, due = processes.largest(signals[0] if signals else 0, time.monotonic() - saved > self.save_every)
            if signal or due:
                self._save()
                saved = time.monotonic()
            if signal:
                raise Interrupted(signal)
        self._end_epoch()

    def _step(self) -> None:
        self.task.begin_step(self.epoch, (self.done, self.steps))
        with processes.own_draws():
            metrics = self.task.step(LazyBatches(self.task.streams, self.task.whole))
        # Detached, since a sum would keep the graphs of all steps alive
        values = [value.detach().reshape(()) for value in metrics.values()]
        for name, value in zip(metrics, processes.averaged(values), strict=True):
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.done += 1
        self.callback.step()

    def _end_epoch(self) -> None:
        began = time.monotonic()
        means = {name: value.item() / self.steps for name, value in self.sums.items()}  # waits for the GPU
        if lost := [name for name, value in means.items() if not math.isfinite(value)]:
            raise _lost(lost, self.epoch + 1)
        self.snapshots.now = self.epoch + 1
        metrics = self.task.end_epoch(self.epoch, means)
        back = self.snapshots.asked()
        seconds = self.seconds + time.monotonic() - began
        row = {"epoch": self.epoch + 1} | metrics | ({"back_to": back.epoch} if back else {})
        row |= {"seconds": round(seconds, 3)}
        self.run.log(row)
        self.epoch, self.done, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0
        for name, epoch in self.snapshots.epochs.items():
            if epoch == self.epoch:
                self.run.save_snapshot(name, epoch, self._state())
        if back:
            state = self.run.load_snapshot(back.name, back.epoch)
            self._take(state, partial(self.task.roll_back, epoch=back.epoch))
        self._save(best=row.get("best", False))
        self.callback.epoch(row)
        if back:
            self.callback.say(str(back))

    def _save(self, *, best: bool = False) -> None:
        self.run.save_checkpoint(self._state(), best=best)
        self.run.keep_snapshots(self.before, self.snapshots.epochs)  # the checkpoint before may be needed, too
        self.before = dict(self.snapshots.epochs)

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "done": self.done,
            "sums": self.sums,
            "seconds": self.seconds,
            "task": self.task.state_dict(),
            "streams": {name: stream.state_dict() for name, stream in self.task.streams.items()},
            "rng": torch.get_rng_state(),
            "rng_cuda": [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else [],
        }

    def _resume(self) -> None:
        state = self.run.load_checkpoint(self.callback.say)
        with self.run.restoring():
            self.run.rewind(0 if state is None else state["epoch"])
        if state is None:
            return
        with self.run.restoring():
            self.epoch, self.done, self.seconds = state["epoch"], state["done"], state["seconds"]
            self.sums = dict(state["sums"])
            self._take(state, self.task.load_state_dict)
            self.before = dict(self.snapshots.epochs)

    def _take(self, state: Mapping[str, Any], load: Callable[[Mapping[str, Any]], None]) -> None:
        """Take over the state of the task, by `load`, and those of the streams and the random generators."""
        load(state["task"])
        for name, stream in self.task.streams.items():
            stream.load_state_dict(state["streams"][name])
        torch.set_rng_state(state["rng"])
        for rng in state["rng_cuda"][:1]:  # an earlier version kept those of all GPUs
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(rng, self.device)


def _lost(metrics: Sequence[str], epoch: int) -> UserError:
    """Build the error for metrics whose means are infinite or NaN; a lost loss may be why the others are."""
    if "loss" in metrics:
        return UserError(f"the loss is no longer a number in epoch {epoch}: try a lower learning rate (--w.lr)")
    advice = "step returns finite numbers; if it is a loss, try a lower learning rate (--w.lr)"
    return UserError(f"metric '{metrics[0]}' is no number in epoch {epoch}: {advice}")
