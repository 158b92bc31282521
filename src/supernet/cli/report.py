"""`supernet report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, parse


@dataclass(frozen=True)
class Report:
    """Write the page of a run, report.html in its folder: everything about it, in one file that can be sent."""

    runs: Annotated[
        Positional[tuple[str, ...]], arg(metavar="RUN", help="folders of searches, selections and retrainings")
    ]


def report(given: Arguments) -> None:
    """Write the pages of runs, finished or not."""
    from supernet.engine.run import Run
    from supernet.errors import UserError
    from supernet.report import console, page

    asked = parse("report", Report, given)
    if not asked.runs:
        raise UserError("missing RUN: folders of searches, selections and retrainings (see supernet report --help)")
    runs = list(map(Run, asked.runs))
    for run in runs:
        _ = run.config  # a wrong folder is told before a page is written
    shown = console.Console()
    for run in runs:
        console.line(shown, f"page          {page.write(run)}")
