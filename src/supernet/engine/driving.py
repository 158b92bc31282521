"""How a run is driven: from a plan to a finished run folder, and the arguments that every such call has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, fields
from typing import Annotated, Any, Protocol, TypeVar

import torch

from supernet.engine.loop import Loop, Task, Watcher
from supernet.engine.memory import keep_freed_memory
from supernet.engine.precision import Precision, products
from supernet.engine.run import Run, environment
from supernet.engine.seeds import seeded
from supernet.settings import OfType, settings


@settings
class Driving:
    """Where a run is written, and who is told of its progress."""

    _: KW_ONLY
    out: Annotated[str | os.PathLike[str] | None, OfType(str, os.PathLike, type(None))] = None
    """run folder; None makes a name from the settings"""
    force: bool = False
    """start over a run that is there"""
    quiet: bool = False
    """no progress"""
    watcher: Annotated[Watcher | None, OfType(Watcher, type(None))] = None
    """told of the progress instead of the terminal; in Python only"""


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
    def running(self) -> str:
        """A line that says how the task runs."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The settings that the run folder keeps."""


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
    """Make the task of a plan, run it to the end in its run folder, call `finish` with it, and return the run.

    An unfinished run is resumed, and a finished one is left as it is; `force` starts either over.
    """
    with as_planned(plan):
        task = make(plan)  # may raise UserError for its settings, so the folder is not made before
        run.start(plan.record, environment(), force=force)
        if run.finished:
            watcher.say(f"run '{run.path}' has finished before: these are its results; --force starts it over")
        else:
            watcher.note(plan.reading)
            watcher.note(plan.running)
            Loop(task, run, task.epochs, watcher)()
            finish(task)
    return run


@contextmanager
def as_planned(plan: Planned) -> Iterator[None]:
    """Use the plan's seed and precision; restore the caller's random state and precision at the end."""
    if plan.device.type == "cpu":
        keep_freed_memory()
    with seeded(plan.seed, plan.device), products(plan.precision):
        yield
