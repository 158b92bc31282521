"""What the command line prints as results: what a table knows of an architecture, what a search found, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from supernet.run import Run


class Screen(Console):
    """A console that lets its owner hear that the reader of its output has gone."""

    def on_broken_pipe(self) -> None:
        """Raise instead of leaving the program."""
        raise BrokenPipeError


def known(console: Console, found: Mapping[str, Any]) -> None:
    """Print what a table knows of one architecture; `found` is `Known.to_json()`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(f"{found['table']} #{found['index']}")
    for name in ("validation", "test", f"rank of {found['total']}", "best there is", "below it"):
        table.add_column(name, justify="right")
    for row in found["standings"]:
        best = f"{row['best_test']:.2f} (#{row['best_index']})"
        table.add_row(
            row["title"], f"{row['valid']:.2f}", f"{row['test']:.2f}", str(row["rank"]), best, f"{row['gap']:.2f}"
        )
    line(console, "")
    console.print(table)
    line(console, f"Measured by the benchmark, in %, mean of {found['seeds']} trainings; rank by test accuracy.")
    first = found["standings"][0]
    line(console, f"{first['params_m']:.3f} M parameters, {first['flops_m']:.1f} M FLOPs on {first['title']}.")


def line(console: Console, text: str) -> None:
    """Print text as it is, however wide the screen."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def result(console: Console, run: Run) -> None:
    """Print what a finished search found."""
    summary = run.summary
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"verdict       {summary['verdict']}")
    if summary["known"] is None:
        size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
        line(console, f"size          {size} with 16 channels and 5 cells per stage, on these images")
    else:
        known(console, summary["known"])
    line(console, f"run folder    {run.path} (cell.svg, search.svg, metrics.jsonl; {summary['seconds']:.0f} s)")


def listing(console: Console, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print name, one-line description and source, a line each."""
    lines = list(rows)
    widths = [max(len(row[column]) for row in lines) for column in (0, 1)]
    for name, summary, paper in lines:
        line(console, f"{name:<{widths[0]}}  {summary:<{widths[1]}}  {paper}".rstrip())
