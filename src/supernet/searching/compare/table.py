"""The table of a comparison, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supernet.engine.files import write_atomically
from supernet.searching.compare.choice import choice
from supernet.searching.compare.config import Record
from supernet.searching.compare.own import foreign
from supernet.searching.compare.rows import Row, measured_by
from supernet.searching.compare.statistics import FEWEST, Difference, Spread
from supernet.spaces.tables.entry import TITLES


def write(record: Record, rows: Sequence[Row], out: Path) -> None:
    """Write table.md, table.csv and results.json."""
    data = as_data(record, rows, out)
    for name, text in (
        ("table.md", as_markdown(record, rows, out)),
        ("table.csv", _as_csv(data["rows"])),
        ("results.json", json.dumps(data, indent=2) + "\n"),
    ):
        write_atomically(out / name, text.encode())


def baseline_of(record: Record, rows: Sequence[Row]) -> Row | None:
    """Return the row that the others are compared with: the first, or the one that was named, None before it is there.

    Another in its place would be compared with unsaid.
    """
    named = record.config.baseline
    return rows[0] if named is None else next((row for row in rows if row.label == named), None)


def baseline_label(record: Record, rows: Sequence[Row]) -> str:
    """Return the label of the row that the others are compared with, also before it is there."""
    return record.config.baseline or rows[0].label


def as_markdown(record: Record, rows: Sequence[Row], out: Path) -> str:
    """Return the table with the lines that say what its numbers are."""
    return f"{in_markdown(cells(record, rows))}\n\n{notes(record, rows, out)}\n"


def in_markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table, its head first, as Markdown: all columns but the first and the last are of numbers."""
    head, *lines = cells
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---", *["---:"] * (len(head) - 2), "---"], *lines])


def cells(record: Record, rows: Sequence[Row]) -> list[list[str]]:
    """Return the lines of the table, its head first, each with its cells.

    A column that no row fills is left out, but for the last one, which names the baseline.
    """
    baseline, retrain = baseline_of(record, rows), record.config.retrain
    kinds = ["accuracy", *(["retrained"] if retrain else [])]
    head = ["method", "n", *(f"{kind}{part}" for kind in kinds for part in (", mean ± std", ", median", ", range"))]
    head += ["collapsed", "passes", "seconds", f"against {baseline_label(record, rows)}"]
    lines = [head]
    for row in rows:
        spreads = [cell for kind in kinds for cell in _spread(row.apart(kind))]
        lines.append([row.label, _n(row), *spreads, *_costs(row), _words(row, baseline)])
    *columns, _ = zip(*lines, strict=True)
    filled = [*(any(column[1:]) for column in columns), True]
    return [[cell for cell, keep in zip(line, filled, strict=True) if keep] for line in lines]


def _n(row: Row) -> str:
    searches = str(len(row.results)) if row.searched else "0"
    if not row.retrainings:
        return searches
    left = f" ({len(row.retrained)} of {len(row.results)} retrained)" if len(row.retrained) < len(row.results) else ""
    return f"{searches} x {row.retrainings}{left}"


def _spread(values: dict[int, float]) -> list[str]:
    if not values:
        return ["", "", ""]
    found = Spread.of(list(values.values()))
    if found.std is None:
        return [str(found), "", ""]
    return [str(found), f"{found.median:.2f}", f"{found.low:.2f} to {found.high:.2f}"]


def _costs(row: Row) -> list[str]:
    if not row.searched:
        return ["", "0", "0"]
    found = list(row.results.values())
    collapsed = f"{sum(result.collapsed for result in found)} of {len(found)}"
    passes, seconds = (statistics.fmean(getattr(result, name) for result in found) for name in ("passes", "seconds"))
    return [collapsed, f"{passes:.0f}", f"{seconds:.1f}"]


def _words(row: Row, baseline: Row | None) -> str:
    found = _difference(row, baseline)
    return "" if found is None else str(found)


def _difference(row: Row, baseline: Row | None) -> Difference | None:
    return None if baseline is None or row is baseline else row.against(baseline)


def notes(record: Record, rows: Sequence[Row], out: Path) -> str:
    """Return what the numbers are, and which network is best on the validation images, in sentences."""
    config, measure = record.config, measured_by(record)
    if measure:
        accuracy = f"test accuracy on {TITLES[measure.partition('_')[0]]} (%) of the architecture in the space's table"
    else:
        accuracy = (
            "on the validation images (%), of the supernet, or of the architecture where the search or the selection "
            "evaluates it, as a path of the supernet or alone; these three are not compared, and the supernet's says "
            "little of the architecture: --retrain quick measures that"
        )
    told = [f"Accuracy: {accuracy}."]
    if config.retrain:
        images = "on the test images, or on the validation images of a data set without any"
        mean = f"the mean of {config.retrainings} by recipe {config.retrain}"
        told.append(f"Retrained: accuracy (%) {images}, {mean}.")
    if best := choice(record, out):
        told.append(f"Best on the validation images: {best}.")
    told += [
        "n: searches, one per seed, x retrainings. Std: sample standard deviation over the seeds.",
        f"Passes: batches forward and backward, of search and selection; the budget is {config.budget}.",
        "Against: the mean of the differences by seed, and its 95 % interval by Student's t; "
        f"of fewer than {FEWEST} seeds it only tells noise.",
    ]
    if baseline_of(record, rows) is None:
        told.append(f"The baseline, {config.baseline}, has no finished run yet.")
    if others := foreign(record, out):
        told.append(f"Not as this comparison asks for, but counted: {'; '.join(others)}.")
    return " ".join(told)


def as_data(record: Record, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    """Return the whole comparison as plain data."""
    baseline, found = baseline_of(record, rows), choice(record, out)
    best = found and {"name": found.name, "validation": found.accuracy, "run": str(found.run.path.relative_to(out))}
    return {
        "config": asdict(record.config),
        "measure": measured_by(record) or "valid_accuracy",
        "baseline": baseline_label(record, rows),
        "best": best,
        "rows": [_data(row, _difference(row, baseline)) for row in rows],
    }


def _data(row: Row, found: Difference | None) -> dict[str, Any]:
    spreads = {
        kind: asdict(Spread.of(list(values.values()))) if (values := row.apart(kind)) else None
        for kind in ("accuracy", "retrained")
    }
    results = {str(seed): asdict(result) for seed, result in row.results.items()} if row.searched else {}
    return {
        "label": row.label,
        "n": len(row.results) if row.searched else 0,
        "retrainings": row.retrainings,
        **spreads,
        "collapsed": sum(result.collapsed for result in row.results.values()),
        "difference": found and asdict(found) | {"words": found.words},
        "results": results,
    }


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return one line for every search, which programs draw from."""
    text = io.StringIO()
    names = ["method", "seed", "accuracy", "retrained", "collapsed", "passes", "seconds", "measured", "architecture"]
    written = csv.DictWriter(text, names, lineterminator="\n")
    written.writeheader()
    for row in rows:
        for seed, result in row["results"].items():
            written.writerow({"method": row["label"], "seed": seed} | result)
    return text.getvalue()
