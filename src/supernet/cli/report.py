"""`supernet report`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, parse


@dataclass(frozen=True)
class Report:
    """Write the page of a run, a comparison or baselines, report.html in its folder: all about it, in one file."""

    runs: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="RUN", help="folders of searches, selections, retrainings, comparisons and baselines"),
    ]


def report(given: Arguments) -> None:
    """Write the pages of runs, comparisons and baselines, finished or not."""
    from supernet.errors import UserError
    from supernet.report.console import Console, line

    asked = parse("report", Report, given)
    if not asked.runs:
        raise UserError(
            "missing RUN: folders of searches, selections, retrainings, comparisons and baselines (see supernet report "
            "--help)"
        )
    shown = Console()
    for write in [_writer(path) for path in asked.runs]:  # a wrong folder is told before a page is written
        line(shown, f"page          {write()}")


def _writer(path: str) -> Callable[[], Path]:
    """Return what writes the page of a folder; raises UserError if it holds nothing that has one."""
    from supernet.engine.run import Run
    from supernet.report import page
    from supernet.searching import baselines
    from supernet.searching.compare import comparison

    run = Run(path)
    if compared := comparison.opened(run.path):
        return compared.report
    if found := baselines.opened(run.path):
        return partial(baselines.write_page, found)
    _ = run.config  # raises if it is none
    return partial(page.write, run)
