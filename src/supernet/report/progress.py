"""Progress on a screen: a bar with time left where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from supernet.engine.loop import Watcher
from supernet.report.console import Console, brief, line


def watcher(*, quiet: bool) -> Watcher:
    """Return what shows progress on the screen: no progress when `quiet`."""
    console = Console()
    if quiet:
        return Quiet()
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


class Quiet(Watcher):
    """Says what the user should not miss, beside the results, and nothing else."""

    def say(self, text: str) -> None:  # noqa: D102
        print(f"supernet: {text}", file=sys.stderr)


class Lines(Quiet):
    """One plain line per epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def note(self, text: str) -> None:  # noqa: D102
        line(self.console, text)

    def start(self, epochs: int, steps: int, done: int) -> None:  # noqa: D102
        self.epochs = epochs
        if done:
            line(self.console, f"going on after step {done} of {epochs * steps}")

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        numbers = f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.3f}  {row['seconds']:.1f} s"
        line(self.console, f"{numbers}  {state_of(row)}{table_accuracy(row)}")


class Bar(Quiet):
    """A progress bar with time left, and below it what the last epoch has brought."""

    def __init__(self, console: Console) -> None:
        self.console = console
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

    def note(self, text: str) -> None:  # noqa: D102
        line(self.console, text)

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
        self.live.update(
            Group(self.progress, Text(state_of(row)), Text(f"loss {row['loss']:.3f}{table_accuracy(row)}"))
        )

    def stop(self) -> None:  # noqa: D102
        self.live.stop()
        self.progress.remove_task(self.task)  # a selection may follow


def state_of(row: Mapping[str, Any]) -> str:
    """Say where an epoch has come to: a search's architecture, a selection's decisions, or an accuracy."""
    if "decided" in row:
        last = ", ".join(f"{choice['edge']} {choice['chosen'] or 'goes'}" for choice in row["last"])
        return f"decided {row['decided']} of {row['decisions']}: {last}"
    if "architecture" in row:
        return brief(str(row["architecture"]))
    kind, images = ("valid", "held-out") if "valid_accuracy" in row else ("test", "test")
    if row[f"{kind}_accuracy"] is None:
        return "no images are held out"
    best = ", the best so far" if row.get("best") else ""
    return f"{100 * row[f'{kind}_accuracy']:.2f} % on {images} images{best}"


def table_accuracy(row: Mapping[str, Any]) -> str:
    """Say what the table knows of the architecture that a search would name now."""
    return f"  known: {row['table']['c10_test']:.2f} % on CIFAR-10" if "table" in row else ""
