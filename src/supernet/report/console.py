"""What the command line prints as results: what a table knows of an architecture, what a search found, lists."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import rich.console
from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from supernet.engine.run import Run
    from supernet.searching.forecast import Forecast


class Console(rich.console.Console):
    """A console that lets its owner hear that the reader of its output has gone."""

    def on_broken_pipe(self) -> None:
        """Raise instead of leaving the program."""
        raise BrokenPipeError


def known(console: Console, found: Mapping[str, Any]) -> None:
    """Print what a table knows of one architecture; `found` is `TableEntry.to_json()`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(f"{found['table']} #{found['index']}")
    for name in ("validation", "test", f"rank of {found['total']}", "best there is", "below it"):
        table.add_column(name, justify="right")
    for row in found["results"]:
        best = f"{row['best_test']:.2f} (#{row['best_index']})"
        table.add_row(
            row["title"], f"{row['valid']:.2f}", f"{row['test']:.2f}", str(row["rank"]), best, f"{row['gap']:.2f}"
        )
    line(console, "")
    console.print(table)
    line(console, f"Measured by the benchmark, in %, mean of {found['seeds']} trainings; rank by test accuracy.")
    first = found["results"][0]
    line(console, f"{first['params_m']:.3f} M parameters, {first['flops_m']:.1f} M FLOPs on {first['title']}.")


def line(console: Console, text: str) -> None:
    """Print text as it is, however wide the screen."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def result(console: Console, run: Run) -> None:
    """Print what a finished search found."""
    summary = run.summary
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"verdict       {summary['verdict']}")
    if summary["table_entry"] is None or summary["limits"]:
        size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
        target = "{width} channels, depth {depth}".format(**summary["target"])
        line(console, f"size          {size} on these images ({target})")
    if summary["latency"]:
        line(console, "latency       {ms:.3g} ms, {source}".format(**summary["latency"]))
    if summary["limits"]:
        line(console, f"limits        {_limits(summary['limits'])}")
    if summary["table_entry"] is not None:
        known(console, summary["table_entry"])
    if summary.get("decisions"):
        _decisions(console, summary)
    if run.config["task"] == "search" and summary.get("selector", "magnitude") != "magnitude":
        line(console, f"selected by   {summary['selector']}: see {run.path}/selections")
    pictures = "cell.svg" if run.config["task"] == "select" else "cell.svg, search.svg"
    line(console, f"run folder    {run.path} ({pictures}, metrics.jsonl; {summary['seconds']:.0f} s)")


def _decisions(console: Console, summary: Mapping[str, Any]) -> None:
    """Print what was decided edge by edge, beside what could have been."""
    kinds = {choice["kind"] for choice in summary["decisions"]}
    line(console, "")
    rows = [
        (
            f"{choice['kind']} {choice['edge']}" if len(kinds) > 1 else choice["edge"],
            choice["chosen"] or "left out",
            _grounds(choice, summary["criterion"]),
        )
        for choice in summary["decisions"]
    ]
    listing(console, rows)
    line(console, "")
    if summary["passes"]:
        saved = summary["saved_seconds"]
        shared = f"; sharing saved about {duration(saved)}" if saved > 0 else ""
        passes = (
            f"{summary['passes']} passes over {summary['judged']} images in {duration(summary['evaluation_seconds'])}"
        )
        line(console, f"judged        {passes}{shared}")


def _grounds(choice: Mapping[str, Any], criterion: str) -> str:
    """Say how a decision came about: the scores without, or of, what was chosen and what was not."""
    scores = dict(choice["scores"])
    if not scores:
        return "the only one"
    own = scores.pop(choice["chosen"] or choice["edge"])
    others = [_score(value, criterion) for value in sorted(scores.values())]
    span = others[0] if others[0] == others[-1] else f"{others[0]} to {others[-1]}"
    if criterion == "magnitude":
        return f"weight {_score(own, criterion)}, others {span}"
    return f"{criterion} {_score(own, criterion)} without it, {span} without another"


def _score(value: float, criterion: str) -> str:
    return f"{100 * value:.2f} %" if criterion == "accuracy" else f"{value:.3f}"


def selections(console: Console, runs: Iterable[Run]) -> None:
    """Print side by side what selectors have read out of one search, if there are several."""
    found = [(_selected_by(run), run.summary) for run in runs]
    if len(found) < 2:
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    known = found[0][1]["table_entry"]
    titles = [] if known is None else [result["title"] for result in known["results"]]
    for name in ("selected by", "verdict", *(titles or ["M params"]), *(["#"] if known else [])):
        table.add_column(name, justify="left" if name in ("selected by", "verdict") else "right")
    for name, summary in found:
        numbers = [f"{summary['params'] / 1e6:.3f}"]
        if known:
            tests = [f"{result['test']:.2f}" for result in summary["table_entry"]["results"]]
            numbers = [*tests, str(summary["table_entry"]["index"])]
        table.add_row(name, summary["verdict"].partition(":")[0], *numbers)
    line(console, "")
    console.print(table)
    if known:
        line(console, f"Test accuracy in %, and number, of {known['table']}.")


def _selected_by(run: Run) -> str:
    config = run.config
    return run.path.name if config["task"] == "select" else str(config["selector"])  # its folder tells epoch and seed


def forecast(console: Console, running: str, found: Forecast) -> None:
    """Print what a search will take."""
    line(console, running)
    line(console, f"memory        {_memory(found)}")
    if not math.isnan(found.step_seconds):
        steps = "1 step and the measurement after it" if found.steps == 1 else f"{found.steps} steps and a measurement"
        line(console, f"step          {duration(found.step_seconds)}")
        line(console, f"epoch         {duration(found.epoch_seconds)} ({steps})")
        line(console, f"search        {duration(found.seconds)} ({found.epochs} epochs)")
        if found.left_out:
            line(console, f"not counted   {found.left_out}")
        if found.tuning:
            tuned = f"{duration(found.tuning_seconds)} of training ({found.tuning} epochs), and the judging"
            line(console, f"selection     {tuned}")
    if not found.fits:
        line(console, "warning       it will not fit: take a smaller --batch-size, or --checkpointing")


def _memory(found: Forecast) -> str:
    if found.free_bytes is None:
        return size(found.peak_bytes) if found.fits else "more than there is"
    free = f"{size(found.free_bytes)} that are free"
    failed = math.isnan(found.step_seconds) and found.peak_bytes <= found.free_bytes  # before it came to its peak
    return f"more than the {free}" if failed else f"{size(found.peak_bytes)} of {free}"


def size(count: int) -> str:
    """Return a number of bytes as a person reads it: 1.5 GB."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Return a time as a person reads it: 35 ms, 4.2 s, 12 min 05 s, 3 h 20 min."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _limits(limits: Mapping[str, Any]) -> str:
    from supernet.models.cost.limits import Limits

    return str(Limits(**limits))


def listing(console: Console, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print name, one-line description and source, a line each; in columns of their own on a narrower terminal."""
    lines = list(rows)
    names, summaries, papers = (max(len(row[column]) for row in lines) for column in range(3))
    fits = names + summaries + papers + (4 if papers else 2) <= console.width
    for name, summary, paper in lines:
        if fits or not console.is_terminal:
            line(console, f"{name:<{names}}  {summary:<{summaries}}  {paper}".rstrip())
        else:
            line(console, _folded(f"{name:<{names}}  ", (summary, paper), console.width))


def _folded(head: str, parts: Iterable[str], width: int) -> str:
    """Return `head` and, to the right of it, each part from a line of its own on, none wider than the screen."""
    room = max(20, width - len(head))
    text = "\n".join(found for part in parts for found in textwrap.wrap(part, room))
    return head + text.replace("\n", "\n" + " " * len(head))


_LONG, _SHORT = 110, 100  # a text of more characters gets a short form of no more than these
_OPS = re.compile(r"([^|~+\s]+)~[0-9]+\||\(\s*['\"]([^'\"]+)['\"]\s*,")  # as in |op~source| and in ('op', source)


def brief(text: str) -> str:
    """Return an architecture's text for a line of progress: how often it has each operation, where it is a long one.

    The commonest operations come first, and the rarest are counted together where all would not fit.
    """
    counts = Counter("".join(found) for found in _OPS.findall(text))
    if len(text) <= _LONG or not counts:
        return text
    parts = [f"{count} {op}" for op, count in counts.most_common()]
    kept, rest = len(parts), ""
    while kept and len(", ".join(parts[:kept]) + rest) > _SHORT:
        kept -= 1
        rest = f", {sum(count for _, count in counts.most_common()[kept:])} others"
    return ", ".join(parts[:kept]) + rest if kept else f"{counts.total()} operations"
