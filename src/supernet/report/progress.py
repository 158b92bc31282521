"""Progress of a run: a bar with the time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from supernet.engine.callbacks import Callback, Callbacks
from supernet.engine.driving import Driving
from supernet.engine.process_group import number
from supernet.errors import visible
from supernet.report.console import Console, line
from supernet.report.loggers import loggers
from supernet.report.text import short_architecture


def callbacks(how: Driving, *, table: bool = False) -> Callbacks:
    """Return the display of progress on this screen and the callbacks that a call asks for; raises UserError.

    With `table`, an epoch's line has the accuracy of its architecture in a table. Of several processes, only the first
    tells.
    """
    if number():
        return Callbacks(Callback(), [])
    return Callbacks(display(quiet=how.quiet, table=table), [*loggers(how.log), *how.callbacks])


def display(*, quiet: bool, table: bool = False) -> Callback:
    """Return the callback that shows progress on this screen, only messages if `quiet`."""
    console = Console()
    if quiet:
        return Quiet()
    redraws = console.is_terminal and not console.is_dumb_terminal
    notebook = console.is_jupyter and find_spec("ipywidgets") is not None  # with which Rich draws there
    return (Bar if redraws or notebook else Lines)(console, table=table)


class Quiet(Callback):
    """Prints messages that the user should not miss, and no progress."""

    def say(self, text: str) -> None:  # noqa: D102
        print(f"supernet: {visible(text)}", file=sys.stderr)


class Lines(Quiet):
    """Prints one plain line per epoch."""

    def __init__(self, console: Console, *, table: bool = False) -> None:
        self.console, self.table = console, table
        self.noted: set[str] = set()

    def note(self, text: str) -> None:  # noqa: D102
        if text not in self.noted:  # a search and its selection read the same images
            line(self.console, text)
        self.noted.add(text)

    def start(self, epochs: int, steps: int, done: int) -> None:  # noqa: D102
        self.epochs = epochs
        if done:
            line(self.console, f"continuing after step {done} of {epochs * steps}")

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        numbers = [f"epoch {row['epoch']}/{self.epochs}", _loss(row), f"{row['seconds']:.1f} s"]
        line(self.console, "  ".join(filter(None, [*numbers, _accuracy(row), _outcome(row), self._in_table(row)])))

    def _in_table(self, row: Mapping[str, Any]) -> str:
        """Return the table's accuracy of the architecture that the search would derive now, if it was asked for."""
        return f"table: {row['table']['c10_test']:.2f} % on CIFAR-10" if self.table and "table" in row else ""


class Bar(Lines):
    """Shows a progress bar with the time left instead of lines, and below it the outcome of the last epoch."""

    def __init__(self, console: Console, *, table: bool = False) -> None:
        super().__init__(console, table=table)
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
        )
        self.task: TaskID
        self.live: Live

    def start(self, epochs: int, steps: int, done: int) -> None:  # noqa: D102
        self.epochs, self.steps = epochs, steps
        number = min(done // steps + 1, epochs)
        self.task = self.progress.add_task("", total=epochs * steps, completed=done, epoch=f"{number}/{epochs}")
        self.live = Live(self.progress, console=self.console, refresh_per_second=4, transient=True)
        self.live.start()

    def step(self) -> None:  # noqa: D102
        self.progress.advance(self.task)

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        number = min(row["epoch"] + 1, self.epochs)
        self.progress.update(self.task, completed=row["epoch"] * self.steps, epoch=f"{number}/{self.epochs}")
        numbers = "  ".join(filter(None, [_loss(row), _accuracy(row), self._in_table(row)]))
        self.live.update(Group(self.progress, Text(_outcome(row)), Text(numbers)))

    def stop(self) -> None:  # noqa: D102
        self.live.stop()
        self.progress.remove_task(self.task)  # a selection may follow


def _loss(row: Mapping[str, Any]) -> str:
    return f"loss {row['loss']:.3f}" if "loss" in row else ""  # a user's method need not tell one


def _outcome(row: Mapping[str, Any]) -> str:
    """Return the outcome of an epoch: a selection's decisions, a search's architecture, or an accuracy."""
    if "decided" in row:
        last = ", ".join(f"{decision['edge']} {decision['chosen'] or 'left out'}" for decision in row["last"])
        return f"decided {row['decided']} of {row['decisions']}: {last}"
    if "architecture" in row:
        return short_architecture(str(row["architecture"]))
    if "op_scores" in row:
        return ""  # a method that ranks no operations
    split, images = ("valid", "validation") if "valid_accuracy" in row else ("test", "test")
    accuracy = row[f"{split}_accuracy"]
    if accuracy is None:
        return "no validation images"
    balanced = f" ({100 * row['balanced_accuracy']:.2f} % balanced)" if "balanced_accuracy" in row else ""
    return f"{100 * accuracy:.2f} %{balanced} on {images} images{', the best so far' if row.get('best') else ''}"


def _accuracy(row: Mapping[str, Any]) -> str:
    """Return the supernet's accuracy on these images, in a search or a selection."""
    if not {"architecture", "op_scores", "decided"} & row.keys():
        return ""  # the outcome of a retraining has it
    found = [(row.get(name), images) for name, images in (("valid_accuracy", "validation"), ("accuracy", "training"))]
    return next((f"{100 * value:.2f} % on {images} images" for value, images in found if value is not None), "")
