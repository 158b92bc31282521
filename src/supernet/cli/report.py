"""`supernet report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, parse


@dataclass(frozen=True)
class Report:
    """Write the page of a run or a comparison, report.html in its folder: all about it, in one file to send."""

    runs: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="RUN", help="folders of searches, selections, retrainings and comparisons"),
    ]


def report(given: Arguments) -> None:
    """Write the pages of runs and comparisons, finished or not."""
    from supernet.engine.run import Run
    from supernet.errors import UserError
    from supernet.report import console, page
    from supernet.searching.compare.comparison import opened

    asked = parse("report", Report, given)
    if not asked.runs:
        raise UserError(
            "missing RUN: folders of searches, selections, retrainings and comparisons (see supernet report --help)"
        )
    found = [opened(run.path) or run for run in map(Run, asked.runs)]
    for what in found:
        if isinstance(what, Run):
            _ = what.config  # a wrong folder is told before a page is written
    shown = console.Console()
    for what in found:
        console.line(shown, f"page          {page.write(what) if isinstance(what, Run) else what.report()}")
