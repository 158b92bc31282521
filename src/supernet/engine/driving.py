"""How a run is driven: from a plan to a finished run folder, and the arguments that every such call has."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, fields
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import torch

from supernet.engine.callbacks import Callback
from supernet.engine.environment import as_begun, environment, forget_memory, note_memory
from supernet.engine.folder import flat
from supernet.engine.loop import Loop, Task
from supernet.engine.memory import is_shortage, keep_freed_memory
from supernet.engine.optim import SGDConfig
from supernet.engine.precision import Precision, products
from supernet.engine.process_group import count
from supernet.engine.processes import gathered
from supernet.engine.run import Run
from supernet.engine.seeds import seeded
from supernet.errors import UserError, reason_of
from supernet.settings import OfType, settings


@settings
class Driving:
    """Where a run is written, and who is told of its progress."""

    _: KW_ONLY
    out: Annotated[str | os.PathLike[str] | None, OfType(str, os.PathLike, type(None))] = None
    """run folder; None makes a name from the settings"""
    force: bool = False
    """start over a run that is there"""
    resume_anyway: bool = False
    """go on with a run where it ends with other bits: with another PyTorch, processor, threads or processes"""
    quiet: bool = False
    """no progress"""
    log: str = ""
    """also write each epoch elsewhere: csv, tensorboard, mlflow, wandb, or several with commas between them"""
    callbacks: Sequence[Annotated[Callback, OfType(Callback)]] = ()
    """told of the progress, too; in Python only"""

    @property
    def again(self) -> dict[str, bool]:
        """The arguments of `conduct` that say what becomes of a run that is there."""
        return {"force": self.force, "resume_anyway": self.resume_anyway}


def driving(arguments: dict[str, Any]) -> Driving:
    """Remove the arguments of `Driving` from those of a call, and return them."""
    names = [entry.name for entry in fields(Driving) if entry.name in arguments]
    return Driving(**{name: arguments.pop(name) for name in names})


class Planned(Protocol):
    """A plan from which a task can be made: all settings are resolved."""

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""

    @property
    def device(self) -> torch.device:
        """The device of the task."""

    @property
    def precision(self) -> Precision:
        """The number format of the big operations."""

    @property
    def reading(self) -> str:
        """A line that says which images are read."""

    @property
    def kernels(self) -> str | None:
        """The kernels that run the supernet; None without a supernet."""

    @property
    def fixed_epochs(self) -> str:
        """Why the task cannot go on for more epochs than it was begun with; empty if it can."""

    @property
    def idle(self) -> Sequence[str]:
        """A line for each setting that has no effect."""

    @property
    def running(self) -> str:
        """A line that says how the task runs."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The settings that the run folder keeps."""

    @property
    def folder(self) -> Path:
        """The default run folder."""


_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
P = TypeVar("P", bound=Planned)
T = TypeVar("T", bound=Task)


def conduct(
    run: Run,
    plan: P,
    make: Callable[[P], T],
    finish: Callable[[T], None],
    callback: Callback,
    *,
    force: bool = False,
    resume_anyway: bool = False,
) -> Run:
    """Make the task of a plan, run it to the end in its run folder, call `finish` with it, and return the run.

    An unfinished run is resumed, a finished one is left as it is, and one of fewer epochs goes on to those of the plan,
    unless its task ended before them; `force` starts each of them over. Raises UserError if another process is in the
    folder, if the run began where it ends with other bits and `resume_anyway` is not given, and if memory or disk have
    no room left.
    """
    for line in plan.idle:
        callback.say(line)
    record = plan.record
    before = {} if force else run.holds(record, plan.fixed_epochs)
    longer = bool(before) and before.get("epochs") != record.get("epochs")
    if before and run.finished and not (longer and "stopped" not in run.summary):
        how = f"stopped by itself after epoch {len(run.metrics)}" if longer else "has finished before"
        callback.say(f"run '{run.path}' {how}: these are its results; --force starts it over")
        with _told(run, callback):
            return run
    forget_memory(plan.device)
    same = as_begun(run, plan.device, plan.kernels, callback, anyway=resume_anyway) if before else nullcontext()
    with _room(run), as_planned(plan), same:
        task = make(plan)  # may raise UserError for its settings, so the folder is not made before
        with run.held():
            run.start(record, environment(plan.kernels, plan.device), force=force, resume_anyway=resume_anyway)
            with _told(run, callback):
                if longer:
                    callback.say(_longer(len(run.metrics), before, record))
                callback.note(plan.reading)
                callback.note(plan.running)
                Loop(task, run, task.epochs, callback, device=plan.device)()
                note_memory(run, plan.device)
                finish(task)
    return run


@contextmanager
def _told(run: Run, callback: Callback) -> Iterator[None]:
    callback.begin(run)
    try:
        yield
    finally:
        callback.end(run)


def going_on(make: Callable[[bool | None], P], how: Driving) -> P:
    """Return a plan, with its images on the disk, or in memory, as a run that is there began.

    `make` takes whether they stay on the disk; None decides by memory, of which there may be more or less now. Raises
    UserError.
    """
    plan = make(None)
    streamed = None if how.force else Run(plan.folder if how.out is None else how.out).streamed
    return plan if streamed in (None, plan.record["stream"]) else make(streamed)


def agreed(make: Callable[[], tuple[Driving, P]]) -> tuple[Driving, P]:
    """Return how a run is driven, and its plan, which all processes make.

    Raises UserError if these differ, and if one process cannot make them.
    """
    if count() == 1:
        return make()
    made: tuple[Driving, P] | None = None
    said: UserError | dict[str, Any]
    try:
        made = make()
        how, plan = made
        said = {name: value for name, value in flat(plan.record).items() if name != "data"} | how.again
        _check_device(plan.device)
    except UserError as error:
        said = error
    (first, *others), message = gathered(said), ""
    for other, there in enumerate(others, 1):
        if isinstance(first, dict) and isinstance(there, dict):
            names = [name for name in first | there if first.get(name) != there.get(name)]
            changes = ", ".join(f"{name} ({there.get(name)} there, {first.get(name)} in the first)" for name in names)
            message = message or (names and f"process {other} has other settings or images: {changes}") or ""
        elif isinstance(there, UserError):
            message = message or f"process {other}: {there}"
    if isinstance(first, UserError) or message:
        raise first if isinstance(first, UserError) else UserError(message)
    assert made is not None
    return made


def _check_device(device: torch.device) -> None:
    """Raise UserError if the processes on this machine cannot have a GPU each."""
    if device.type != "cuda":
        return
    if device.index is not None:
        raise UserError(f"each process takes a GPU of its own: give --device cuda, not {device}")
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", count())), torch.cuda.device_count()
    if here > gpus:
        raise UserError(f"{here} processes need a GPU each, and here are {gpus}: start {gpus}, or give --device cpu")


def _longer(done: int, before: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return a line that says what more epochs mean for the schedule of a run that has done some."""
    old, new, w = before["epochs"], record["epochs"], SGDConfig(**record["w"])
    rates = f"was {w.rate(max(0, done - 1), old):.2g} and is {w.rate(done, new):.2g} now"
    return (
        f"going on after epoch {done} with the schedule of {new} epochs, not {old}: the learning rate {rates}; "
        f"a run begun with {new} epochs ends otherwise"
    )


@contextmanager
def _room(run: Run) -> Iterator[None]:
    """Turn a lack of memory or of room on the disk into one line, a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        file = error.filename or run.path
        raise UserError(f"cannot write '{file}': {reason_of(error)}; make room, and the same command goes on") from None
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        smaller = "take a smaller --batch-size or --width, or in a search --checkpointing, and another --out"
        raise UserError(f"memory has run out: {smaller}; what run '{run.path}' has saved stays") from error


@contextmanager
def as_planned(plan: Planned) -> Iterator[None]:
    """Use the plan's seed and precision; restore the caller's random state and precision at the end."""
    if plan.device.type == "cpu":
        keep_freed_memory()
    with seeded(plan.seed, plan.device), products(plan.precision):
        yield
