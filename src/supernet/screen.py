"""Progress on a screen: a bar with time left where there is a terminal, plain lines where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from supernet.loop import Watcher


def watcher(*, quiet: bool) -> Watcher:
    """Return what shows progress on the screen: no progress when `quiet`."""
    console = Console()
    if quiet:
        return Quiet(console)
    return Bar(console) if console.is_terminal else Lines(console)


class Quiet(Watcher):
    """Shows what the user should not miss, and nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:  # noqa: D102
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


class Lines(Quiet):
    """One plain line per epoch."""

    epochs: int

    def start(self, epochs: int, steps: int, epoch: int) -> None:  # noqa: D102
        self.epochs = epochs
        if epoch:
            self.console.print(f"going on after epoch {epoch} of {epochs}", soft_wrap=True, highlight=False)

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        text = f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.3f}  {row['seconds']:.1f} s  {standing(row)}"
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


class Bar(Quiet):
    """A progress bar with time left, and below it the current architecture with its known accuracy."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task: TaskID
        self.live: Live

    def start(self, epochs: int, steps: int, epoch: int) -> None:  # noqa: D102
        self.epochs, self.steps = epochs, steps
        self.task = self.progress.add_task(
            "", total=epochs * steps, completed=epoch * steps, epoch=f"{epoch + 1}/{epochs}"
        )
        self.live = Live(self.progress, console=self.console, refresh_per_second=4, transient=True)
        self.live.start()

    def step(self) -> None:  # noqa: D102
        self.progress.advance(self.task)

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        number = min(row["epoch"] + 1, self.epochs)
        self.progress.update(self.task, completed=row["epoch"] * self.steps, epoch=f"{number}/{self.epochs}")
        self.live.update(Group(self.progress, Text(f"loss {row['loss']:.3f}  {standing(row)}")))

    def stop(self) -> None:  # noqa: D102
        self.live.stop()


def standing(row: Mapping[str, Any]) -> str:
    """Say which architecture a search would name now, and what the table knows of it."""
    known = f"  known: {row['known']['c10_test']:.2f} % on CIFAR-10" if "known" in row else ""
    return f"{row['architecture']}{known}"
