"""The progress of all jobs of a comparison: a bar for each that runs, and plain lines without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from supernet.errors import visible
from supernet.report.console import Console, line
from supernet.report.text import duration
from supernet.searching.compare.status import JobState, doing


class Display:
    """Prints a line for every job that ends, and shows bars on a terminal; nothing but what failed if `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self.console, self.quiet = Console(), quiet
        bars = not quiet and self.console.is_terminal and not self.console.is_dumb_terminal
        self._live = Live(console=self.console, refresh_per_second=4, transient=True) if bars else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def live(self) -> bool:
        """Whether there are bars to bring up to date."""
        return self._live is not None

    def say(self, text: str, *, important: bool = True) -> None:
        """Print a line."""
        if important or not self.quiet:
            line(self.console, visible(text))

    def ended(self, state: JobState, states: Sequence[JobState], left: float | None) -> None:
        """Print that a job has ended."""
        done = sum(other.state in ("finished", "failed") for other in states)
        rest = f", about {duration(left)} left" if left else ""
        if state.state == "failed":
            self.say(f"failed: {state.job.name}: {state.reason}")
        else:
            took = duration(state.seconds)
            self.say(f"done: {state.job.name} in {took} ({done} of {len(states)}{rest})", important=False)

    def update(self, states: Sequence[JobState], left: float | None) -> None:
        """Bring the bars up to date."""
        if self._live is None:
            return
        rows = Table.grid(padding=(0, 1))
        for state in states:
            if state.state == "running":
                bar = ProgressBar(total=state.total or None, completed=state.done, pulse=not state.total, width=30)
                rows.add_row(Text(visible(state.job.name)), bar, Text(doing(state)))
        done = sum(state.state in ("finished", "failed") for state in states)
        rest = f", about {duration(left)} left" if left else ""
        bar = ProgressBar(total=len(states), completed=done, width=30)
        rows.add_row(Text("all"), bar, Text(f"{done} of {len(states)} runs{rest}"))
        self._live.update(Group(rows))
