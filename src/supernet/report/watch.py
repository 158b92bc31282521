"""The progress of a run, read from its files alone: curves and facts as text, and as a page for a browser."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from supernet.engine.folder import flat
from supernet.engine.glance import image, planned_epochs
from supernet.engine.lock import running
from supernet.engine.run import Run
from supernet.errors import UserError, visible
from supernet.report.runs import Runs, runs
from supernet.report.text import duration

PICTURES = (
    "search.svg",
    "diagnostics.svg",
    "training.svg",
    "confusion.svg",
    "landscape.svg",
    "strength.svg",
    "rank.svg",
)
_CURVES = {
    "loss": "loss",
    "accuracy": "accuracy in training",
    "valid_accuracy": "validation",
    "test_accuracy": "test",
    "table.c10_test": "table, CIFAR-10",
}
_BARS, _WIDTH = "▁▂▃▄▅▆▇█", 40


class Watched(Protocol):
    """What is watched beside runs, as one look finds it."""

    @property
    def goes_on(self) -> bool:
        """Whether a process works on it."""

    def text(self) -> str:
        """Return what a terminal shows."""

    def page(self) -> str:
        """Return what a browser shows, as a whole page; all texts are escaped."""


What = Run | Runs | Watched


def watched(folder: str) -> Run | Runs:
    """Return the run in a folder, or the runs below one that is none; raises UserError if there are none."""
    run = Run(folder)
    if run.task is not None:
        return run
    if not Path(folder).is_dir() or not (found := runs(folder)):
        raise UserError(f"'{folder}' is no run folder, and holds none")
    return found


def state(run: Run) -> str:
    """Return whether the run has finished, runs with how much time left, or was interrupted."""
    if run.finished:
        return "finished"
    holder = running(run.path)
    if holder is None:
        return "interrupted: the same command goes on"
    rows = run.metrics
    planned = planned_epochs(run.config)
    if not rows or not isinstance(planned, int):
        return f"running: {holder}"
    if len(rows) >= planned:  # a selection follows
        return f"running, all epochs are done: {holder}"
    one = median(row["seconds"] for row in rows[-5:])
    since = time.time() - (run.path / "metrics.jsonl").stat().st_mtime
    left = max(0.0, (planned - len(rows)) * one - min(since, one))
    return f"running, about {duration(left)} left: {holder}"


def goes_on(what: What) -> bool:
    """Return whether a process works on the run, or on one of several."""
    if not isinstance(what, Run | Runs):
        return what.goes_on
    every = what if isinstance(what, Runs) else [what]
    return any(running(run.path) for run in every)


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the curves of a run's metrics by their titles, each with its numbers in the order of the epochs."""
    flats = [flat(row) for row in rows]
    found: dict[str, list[float]] = {}
    for name, title in _CURVES.items():
        numbers = [value for row in flats if isinstance(value := row.get(name), int | float) and math.isfinite(value)]
        found |= {title: numbers} if numbers else {}
    return found


def text(what: What) -> str:
    """Return what a terminal shows of a run, or of several."""
    if not isinstance(what, Run | Runs):
        return what.text()
    if isinstance(what, Runs):
        return repr(what)
    lines = {"run": str(what.path), "state": state(what)} | what.facts
    for title, values in curves(what.metrics).items():
        lines[title] = f"{_bars(values)}  {values[0]:.3f} to {values[-1]:.3f}"
    width = max(map(len, lines))
    return "\n".join(f"{title:<{width}}  {visible(value)}" for title, value in lines.items())


def _bars(values: Sequence[float]) -> str:
    """Return a curve as a line of bars, each the mean of as many epochs as there must be."""
    count = min(len(values), _WIDTH)
    cuts = [len(values) * number // count for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    return "".join(_BARS[round(7 * (value - low) / ((high - low) or 1))] for value in means)


def page(what: Run | Runs) -> str:
    """Return what a browser shows of a run, or of several, as the content of a page; all texts are escaped."""
    if isinstance(what, Runs):
        return what._repr_html_()
    try:
        drawn = "".join(_curve(title, values) for title, values in curves(what.metrics).items())
        now = state(what)
    except UserError:  # which the facts tell
        drawn, now = "", "damaged"
    pictures = "".join(image(what.path / name, name) for name in PICTURES)
    return f"<h1>{escape(now)}</h1>{what._repr_html_()}<div>{drawn}</div>{pictures}"


def _curve(title: str, values: Sequence[float]) -> str:
    low, high, last = min(values), max(values), max(1, len(values) - 1)
    points = " ".join(
        f"{300 * number / last:.1f},{55 - 50 * (value - low) / ((high - low) or 1):.1f}"
        for number, value in enumerate(values)
    )
    line = f'<polyline fill="none" stroke="currentColor" stroke-width="1.5" points="{points}"/>'
    head = f"{escape(title)}: {values[0]:.3f} to {values[-1]:.3f} (lowest {low:.3f}, highest {high:.3f})"
    drawing = f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 300 60">{line}</svg>'
    return f"<figure><figcaption>{head}</figcaption>{drawing}</figure>"
