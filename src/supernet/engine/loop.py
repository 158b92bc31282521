"""The loop: epochs, steps, checkpoints, interruption. It knows batches and a run folder, not what is learned."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from supernet.data import Batch, Batches
from supernet.engine.memory import keep_freed_memory
from supernet.engine.precision import Precision, products
from supernet.engine.run import Run, environment
from supernet.engine.seeds import seeded
from supernet.errors import UserError


class Task(Protocol):
    """What the loop drives."""

    streams: Mapping[str, Batches]  # the first one's length is the epoch's

    @property
    def epochs(self) -> int:
        """How many epochs it takes."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch number `epoch`, counted from 0."""

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Learn from one batch of every stream, or of those asked for; return scalars to be averaged."""

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Return the row of metrics for the epoch whose averages are `means`; its "best" says to keep this state."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Watcher:
    """Is told how far a loop has come; this one keeps quiet. A screen is a subclass."""

    def start(self, epochs: int, steps: int, done: int) -> None:
        """Note that a loop of `epochs` x `steps` begins, `done` steps of it done before."""

    def step(self) -> None:
        """Note that one step is done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Note that an epoch is done, with its row of metrics."""

    def note(self, text: str) -> None:
        """Take a line on how it runs."""

    def say(self, text: str) -> None:
        """Take a line the user should see."""

    def stop(self) -> None:
        """Note that the loop has ended, finished or not."""


class LazyBatches(Mapping[str, Batch]):
    """The batches of one step, each drawn from its stream when it is first asked for: what is not, stays there."""

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


class Interrupted(KeyboardInterrupt):
    """The user asked to stop; the run is saved and the same command goes on."""


class Loop:
    """Runs a task for some epochs, saving to `run` after every epoch and every `save_every` seconds between.

    A state is also kept as the best one after an epoch whose row of metrics says "best": True.
    Started again on the same run it goes on from the last checkpoint and ends with the same bits as if it had never
    stopped, on a CPU. Ctrl-C ends the step, saves, and raises Interrupted; a second one stops at once.
    """

    def __init__(self, task: Task, run: Run, epochs: int, watcher: Watcher, save_every: float = 60.0) -> None:
        self.task, self.run, self.epochs, self.watcher, self.save_every = task, run, epochs, watcher, save_every
        self.steps = next(iter(task.streams.values())).steps
        self.epoch = self.done = 0  # epochs finished, and steps finished in the current one
        self.sums: dict[str, Tensor] = {}
        self.seconds = 0.0

    def __call__(self) -> None:
        """Run to the end; raises Interrupted, or UserError if the loss is no longer a number."""
        with _ctrl_c() as asked:
            self._resume()
            self.watcher.start(self.epochs, self.steps, self.epoch * self.steps + self.done)
            try:
                while self.epoch < self.epochs:
                    self._epoch(asked)
            finally:
                self.watcher.stop()

    def _epoch(self, asked: threading.Event) -> None:
        if self.done == 0:  # in the middle of an epoch the task was prepared before it was saved
            self.task.begin_epoch(self.epoch)
        saved = time.monotonic()
        began = saved - self.seconds
        while self.done < self.steps:
            self._step()
            self.seconds = time.monotonic() - began
            if asked.is_set() or time.monotonic() - saved > self.save_every:
                self._save()
                saved = time.monotonic()
            if asked.is_set():
                raise Interrupted
        self._end_epoch()

    def _step(self) -> None:
        metrics = self.task.step(LazyBatches(self.task.streams))
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.done += 1
        self.watcher.step()

    def _end_epoch(self) -> None:
        began = time.monotonic()
        means = {name: value.item() / self.steps for name, value in self.sums.items()}  # waits for a GPU's last step
        if not all(math.isfinite(value) for value in means.values()):
            epoch = self.epoch + 1
            raise UserError(f"the loss is no longer a number in epoch {epoch}: try a lower learning rate (--w.lr)")
        found = self.task.end_epoch(self.epoch, means)
        seconds = self.seconds + time.monotonic() - began
        row = {"epoch": self.epoch + 1} | found | {"seconds": round(seconds, 3)}
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
        self.run.rewind(0 if state is None else state["epoch"])
        if state is None:
            return
        self.epoch, self.done, self.seconds = state["epoch"], state["done"], state["seconds"]
        self.task.load_state_dict(state["task"])
        self.sums = dict(state["sums"])
        for name, stream in self.task.streams.items():
            stream.load_state_dict(state["streams"][name])
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["rng_cuda"])


class Planned(Protocol):
    """A task with every choice made."""

    @property
    def seed(self) -> int:
        """The seed of everything drawn."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def precision(self) -> Precision:
        """The number format that it runs in."""

    @property
    def running(self) -> str:
        """How it runs, in a line."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The settings that a run folder keeps."""


P = TypeVar("P", bound=Planned)
T = TypeVar("T", bound=Task)


def conduct(
    run: Run,
    plan: P,
    make: Callable[[P], T],
    finish: Callable[[T], None],
    watcher: Watcher,
    *,
    force: bool = False,
) -> Run:
    """Make the task of a plan, drive it to its end in its run folder, `finish` it, and return the run.

    An unfinished run is gone on with, a finished one is left as it is; `force` starts it over.
    """
    with as_planned(plan):
        task = make(plan)  # before the folder is made: settings that do not go together are told here
        run.start(plan.record, environment(), force=force)
        if run.finished:
            watcher.say(f"run '{run.path}' has finished before: this is what it found; --force starts it over")
        else:
            watcher.note(plan.running)
            Loop(task, run, task.epochs, watcher)()
            finish(task)
    return run


@contextmanager
def as_planned(plan: Planned) -> Iterator[None]:
    """Draw from the plan's seed and multiply in its precision; afterwards all is as the caller had it."""
    if plan.device.type == "cpu":
        keep_freed_memory()
    with seeded(plan.seed, plan.device), products(plan.precision):
        yield


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, and let the second one through."""
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before in (None, signal.SIG_IGN):  # ignored, as by nohup: it stays so
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        asked.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
