"""The command line's output: results of searches and selections, entries of tables, and lists."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich.console
from rich import box
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from supernet.engine.glance import size as size_of
from supernet.errors import visible
from supernet.report.text import accuracy, duration
from supernet.spaces.tables.entry import holds

if TYPE_CHECKING:
    from supernet.engine.run import Run


_UNITS = {"params": ("{:,.0f}", " parameters"), "flops": ("{:,.0f}", " FLOPs")}  # other costs are latencies


class Console(rich.console.Console):
    """A console for any text and any file, which raises BrokenPipeError when its reader is gone.

    It writes out control characters, and letters that its file cannot hold; `:cat:` stays what it is.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(emoji=False, **settings)

    def render(self, *arguments: Any) -> Iterator[Segment]:
        """Yield the segments of something printable, with what cannot be written in its text written out."""
        for segment in super().render(*arguments):
            shown = segment.text if segment.control else "\n".join(map(visible, segment.text.split("\n")))
            yield segment._replace(text=shown.encode(self.encoding, "backslashreplace").decode(self.encoding))

    def on_broken_pipe(self) -> None:
        """Raise instead of exiting, as Rich would."""
        raise BrokenPipeError


def line(console: Console, text: str) -> None:
    """Print the text as it is, however narrow the terminal."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def result(console: Console, run: Run, *, table: bool = False) -> None:
    """Print the result of a finished search or selection.

    The table's standings come last, where the images are those of the table or `table` asks for them.
    """
    summary, selection = run.summary, run.config["task"] == "select"
    if measured := summary.get("measured"):
        line(console, f"accuracy      {accuracy(measured)}")
    line(console, f"architecture  {summary['architecture']}")
    line(console, f"verdict       {summary['verdict']}")
    if summary.get("margins"):
        line(console, f"decided       {summary['margins']['text']}")
    if "threshold" in summary:
        line(console, f"threshold     {summary['threshold']}")
    if "curvature" in summary:
        line(console, f"curvature     {summary['curvature']}")
    if "stopped" in summary:
        line(console, f"stopped       after epoch {summary['stopped']['epoch']}: {summary['stopped']['reason']}")
    size = size_of(summary["params"], summary["flops"])
    target = "{width} channels, depth {depth}".format(**summary["target"])
    line(console, f"size          {size} on these images ({target})")
    if summary["latency"]:
        line(console, "latency       {ms:.3g} ms, {source}".format(**summary["latency"]))
    if summary["limits"]:
        from supernet.models.cost.limits import Limits

        line(console, f"limits        {Limits(**summary['limits'])}")
    for target in targets(summary):
        line(console, f"target        {target}")
    if summary.get("decisions"):
        _decisions(console, summary)
    if not selection and summary.get("selector", "magnitude") != "magnitude":
        see = f": see {run.path}/selections" if (run.path / "selections").is_dir() else ""
        line(console, f"selected by   {summary['selector']}{see}")
    pictures = "report.html, cell.svg" if selection else "report.html, cell.svg, search.svg"
    line(console, f"run folder    {run.path} ({pictures}, metrics.jsonl; {summary['seconds']:.0f} s)")
    if summary["table_entry"] is not None and (table or holds(run.config["data_name"], run.config["classes"])):
        table_entry(console, summary["table_entry"])


def targets(summary: Mapping[str, Any]) -> list[str]:
    """Return a line on each target of a search: the cost of its network, and that expected of the op scores."""
    lines = []
    for name, found in summary.get("targets", {}).items():
        form, unit = _UNITS.get(name, ("{:.3g} ms", f" ({name})"))
        network, target = found["network"], form.format(found["target"])
        if network is None or math.isnan(network):  # NaN in runs of earlier versions
            here = "the table has no latency for this network, which counts as above the target"
        else:
            kept = "above the target" if network > found["target"] else "within it"
            here = f"this network has {form.format(network)}, {kept}"
        drawn = "" if found["expected"] is None else f"; expected of the op scores: {form.format(found['expected'])}"
        lines.append(f"{target}{unit}: {here}{drawn}")
    return lines


def cost_of(name: str, value: float) -> str:
    """Return a cost without its unit: a whole number of parameters or FLOPs, a latency to 3 digits."""
    return _UNITS.get(name, ("{:.3g}", ""))[0].format(value)


def table_entry(console: Console, entry: Mapping[str, Any]) -> None:
    """Print a table's results for one architecture; `entry` is the output of `TableEntry.to_json`."""
    numbers = ("validation", "test", f"rank of {entry['total']}", "best there is", "below it")
    table = table_of([f"{entry['table']} #{entry['index']}"], numbers)
    for row in entry["results"]:
        best = f"{row['best_test']:.2f} (#{row['best_index']})"
        table.add_row(
            row["title"], f"{row['valid']:.2f}", f"{row['test']:.2f}", str(row["rank"]), best, f"{row['gap']:.2f}"
        )
    line(console, "")
    console.print(table)
    line(console, f"Measured by the benchmark, in %, mean of {entry['seeds']} trainings; rank by test accuracy.")
    first = entry["results"][0]
    line(console, f"{first['params_m']:.3f} M parameters, {first['flops_m']:.1f} M FLOPs on {first['title']}.")


def table_of(words: Iterable[str], numbers: Iterable[str]) -> Table:
    """Return an empty table with columns of words, aligned to the left, and of numbers, aligned to the right.

    A narrow terminal folds cells and cuts none.
    """
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in words:
        found.add_column(name, overflow="fold")
    for name in numbers:
        found.add_column(name, justify="right", overflow="fold")
    return found


def _decisions(console: Console, summary: Mapping[str, Any]) -> None:
    """Print a selection's decision on every edge with the scores of the alternatives."""
    several = len({decision["kind"] for decision in summary["decisions"]}) > 1
    rows = [
        (
            f"{decision['kind']} {decision['edge']}" if several else decision["edge"],
            decision["chosen"] or "left out",
            _scores(decision, summary["criterion"]),
        )
        for decision in summary["decisions"]
    ]
    line(console, "")
    listing(console, rows)
    line(console, "")
    if summary["passes"]:
        seconds = duration(summary["evaluation_seconds"])
        line(
            console, f"evaluated     {summary['passes']} passes over {summary['validation_images']} images in {seconds}"
        )


def _scores(decision: Mapping[str, Any], criterion: str) -> str:
    """Return the score of the chosen operation, or the removed edge, and the range of the other scores."""
    scores = dict(decision["scores"])
    if not scores:
        return "the only one"
    chosen = _score(scores.pop(decision["chosen"] or decision["edge"]), criterion)
    others = [_score(value, criterion) for value in sorted(scores.values())]
    span = " to ".join(dict.fromkeys(others[:1] + others[-1:]))
    if criterion == "magnitude":
        return f"weight {chosen}" + (f", others {span}" if others else "")
    return f"{criterion} {chosen} without it" + (f", {span} without another" if others else "")


def _score(value: float, criterion: str) -> str:
    return f"{100 * value:.2f} %" if criterion == "accuracy" else f"{value:.3f}"


def selections(console: Console, runs: Sequence[Run], *, table: bool = False) -> None:
    """Print a table that compares the selections from one search, if there are several; `table` is as for `result`."""
    rows = [(_selected_by(run), run.summary) for run in runs]
    if len(rows) < 2:
        return
    config = next(iter(runs)).config
    entry = rows[0][1]["table_entry"] if table or holds(config["data_name"], config["classes"]) else None
    numbers = ["M params"] if entry is None else [*(result["title"] for result in entry["results"]), "#"]
    found = table_of(["selected by", "verdict"], numbers)
    for name, summary in rows:
        cells = [f"{summary['params'] / 1e6:.3f}"]
        if entry is not None:
            results, index = summary["table_entry"]["results"], summary["table_entry"]["index"]
            cells = [*(f"{result['test']:.2f}" for result in results), str(index)]
        found.add_row(Text(name), summary["verdict"].partition(":")[0], *cells)
    line(console, "")
    console.print(found)
    if entry is not None:
        line(console, f"Test accuracy in %, and number, of {entry['table']}.")


def front(console: Console, found: Mapping[str, Any]) -> None:
    """Print the architectures of a search along their cost, as `supernet.searching.front_points.drawn` has them."""
    names = [name for name in ("supernet", "retrained", "table") if any(p[name] is not None for p in found["points"])]
    table = table_of(["architecture in"], [found["title"], *(f"{name}, %" for name in names), ""])
    for point in found["points"]:
        accuracies = ["" if point[name] is None else f"{point[name]:.2f}" for name in names]
        folder = Text("the run folder" if point["run"] == "." else point["run"])
        table.add_row(
            folder, cost_of(found["cost"], point["cost"]), *accuracies, "dominated" if point["dominated"] else ""
        )
    line(console, "")
    console.print(table)
    some = {
        "supernet": f"in the supernet, on {found['images']} validation images",
        "retrained": f"of retrainings in these folders {found['alike']}, on test images",
        "table": "of the table, on test images",
    }
    line(console, f"Accuracies {'; '.join(some[name] for name in names)}.")


def _selected_by(run: Run) -> str:
    """Return the search's selector, or a selection's folder, whose name has selector, epoch and seed."""
    return run.path.name if run.config["task"] == "select" else str(run.config["selector"])


def listing(console: Console, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print a line per row of (name, summary, source); in a narrower terminal, summary and source are wrapped."""
    rows = [(visible(name), visible(summary), visible(source)) for name, summary, source in rows]
    names, summaries, sources = (max(len(row[column]) for row in rows) for column in range(3))
    fits = names + summaries + sources + (4 if sources else 2) <= console.width
    for name, summary, source in rows:
        if fits or not console.is_terminal:
            line(console, f"{name:<{names}}  {summary:<{summaries}}  {source}".rstrip())
        else:
            line(console, _wrapped(f"{name:<{names}}  ", (summary, source), console.width))


def _wrapped(head: str, parts: Iterable[str], width: int) -> str:
    """Return `head` and, wrapped to the right of it, the parts, each of which begins on a new line."""
    room = max(20, width - len(head))
    return head + ("\n" + " " * len(head)).join(text for part in parts for text in textwrap.wrap(part, room))
