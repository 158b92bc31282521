"""Callbacks: objects that are told of the progress of runs, as the display in the terminal is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partialmethod
from typing import TYPE_CHECKING, Any

from supernet.engine.process_group import alone
from supernet.errors import place_of

if TYPE_CHECKING:
    from supernet.engine.run import Run


class Callback:
    """An object that is told of the progress of a run, and ignores it; subclasses override the events they want.

    The events of one run, in this order: `begin`; `start`; for every epoch its `step`s and `epoch`; `stop`; `end`. A
    search whose selector has a run of its own begins and ends that run before its own `end`. A run that had finished
    before only begins and ends. Random numbers are drawn from a generator of the callback's own: the global ones belong
    to the run.
    """

    def begin(self, run: Run) -> None:
        """Receive a run whose folder is there; a resumed one has the rows of its earlier epochs."""

    def start(self, epochs: int, steps: int, done: int) -> None:
        """Receive the start of a loop of `epochs` x `steps` steps, of which `done` were done before."""

    def step(self) -> None:
        """Receive the end of a step."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Receive the end of an epoch, with its row of metrics; the epoch is saved."""

    def note(self, text: str) -> None:
        """Receive a line that says how the loop runs."""

    def say(self, text: str) -> None:
        """Receive a line that the user should see."""

    def stop(self) -> None:
        """Receive the end of the loop, finished or not."""

    def end(self, run: Run) -> None:
        """Receive the end of the run: with all its results if `run.finished`, otherwise interrupted."""


class Callbacks(Callback):
    """A display, and other callbacks, as one. One of the others that fails is told of, and not called again."""

    def __init__(self, display: Callback, others: Iterable[Callback] = ()) -> None:
        self.display, self.others = display, list(others)

    def _tell(self, event: str, *what: Any) -> None:
        getattr(self.display, event)(*what)  # whose end, a closed pipe, ends the program
        for callback in tuple(self.others):
            try:
                with alone():  # of several processes the first one tells, and no other waits for what it reads
                    getattr(callback, event)(*what)
            except Exception as error:
                self.others = [other for other in self.others if other is not callback]
                reason = " ".join(f"{type(error).__name__}: {error}".split()) + place_of(error)
                name = getattr(callback, "name", type(callback).__name__)
                self.display.say(f"callback {name} failed in {event} ({reason}): the run goes on without it")


for _event in ("begin", "start", "step", "epoch", "note", "say", "stop", "end"):
    setattr(Callbacks, _event, partialmethod(Callbacks._tell, _event))
