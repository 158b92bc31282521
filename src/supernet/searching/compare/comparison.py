"""A comparison in its folder, finished or not: its rows, its table, its page, and how far it has come."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.report.text import as_argument
from supernet.searching.compare import config as configs
from supernet.searching.compare import page, table
from supernet.searching.compare.cases import cases
from supernet.searching.compare.choice import choice
from supernet.searching.compare.commands import Job, jobs_of
from supernet.searching.compare.config import FILE, Record
from supernet.searching.compare.rows import Row, rows
from supernet.searching.compare.status import JobState, lines, seconds_left, state_of
from supernet.searching.compare.worker import failures


@dataclass(frozen=True)
class Comparison:
    """A folder of runs with its file, finished or not; reading one writes nothing."""

    path: Path
    record: Record

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Comparison:
        """Return the comparison in a folder; raises UserError if there is none."""
        record = configs.load(Path(path))
        if record is None:
            raise UserError(f"'{os.fspath(path)}' is no comparison: there is no {FILE} in it")
        return cls(Path(path), record)

    @property
    def rows(self) -> list[Row]:
        """A row for every method, and point of the axes, that has a finished run, and the largest cells."""
        return rows(self.record, self.path)

    @property
    def runs(self) -> list[Run]:
        """The finished searches."""
        searches = {
            case.folder(self.path, seed) for case in cases(self.record.config) for seed in self.record.config.seeds
        }
        return [run for run in map(Run, sorted(searches)) if run.finished]

    @property
    def best(self) -> Run | None:
        """The retraining whose architecture is best on the validation images; None before one has finished."""
        found = choice(self.record, self.path)
        return None if found is None else found.run

    def table(self) -> str:
        """Return the table as Markdown."""
        return table.as_markdown(self.record, self.rows, self.path)

    def report(self) -> Path:
        """Write the page of the comparison, report.html in its folder, and return the file.

        Raises UserError if a file of a run is damaged.
        """
        return page.write(self.record, self.rows, self.states, self.path)

    def _repr_html_(self) -> str:
        return page.glance(self.record, self.rows, self.path)

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs, one for every search; made once, as the display asks for all states again and again."""
        return jobs_of(self.record, self.path)

    @property
    def states(self) -> list[JobState]:
        """How far every job has come."""
        failed = failures(self.path)
        return [state_of(job, self.path, failed) for job in self.jobs]

    def status(self, workers: int = 1) -> list[str]:
        """Return what has run, runs, is left and has failed, as lines of text."""
        return self.told(self.states, workers)

    def told(self, states: Sequence[JobState], workers: int = 1) -> list[str]:
        """Return the lines of `status` for states that have been read."""
        running = sum(state.state == "running" for state in states)
        return lines(states, seconds_left(states, self.record.measured, max(running, workers)))


def opened(path: str | os.PathLike[str]) -> Comparison | None:
    """Return the comparison in a folder, which may be of somebody else, None if there is none.

    Raises UserError if its file is damaged, and if it names code of a user's own, which `supernet compare` alone takes.
    """
    if not (Path(path) / FILE).exists():
        return None
    found = Comparison.read(path)
    try:
        configs.check_published(found.record.config)
    except UserError as error:
        there = f"supernet compare {shlex.quote(as_argument(Path(path)))}"
        raise UserError(f"{error}, to {there}, which writes the page, and with --status tells what has run") from None
    return found
