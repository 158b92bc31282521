"""The page of a comparison, finished or not: its table, its figures over the seeds, and what has failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from supernet.engine.run import Run
from supernet.report import page
from supernet.report.page import parts
from supernet.searching.compare import table
from supernet.searching.compare.agreement import LEFT_OUT, Agreement, agreement, found_by
from supernet.searching.compare.cases import cases
from supernet.searching.compare.commands import command, going_on
from supernet.searching.compare.config import Record
from supernet.searching.compare.rows import Row, measured_by
from supernet.searching.compare.status import JobState, doing, lines
from supernet.spaces import space

TEMPLATE = "comparison.html"
_DRAWN = 8  # cells, the most frequent ones
_ASKED = ("data", "methods", "seeds", "axes", "settings", "budget", "baseline", "retrain")


def write(record: Record, rows: Sequence[Row], states: Sequence[JobState], out: Path) -> Path:
    """Write report.html into the folder of a comparison, and return the file."""
    return page.write_page(out, TEMPLATE, sections(record, rows, out) | standing(states, lines(states, None)[0]))


def glance(record: Record, rows: Sequence[Row], out: Path) -> str:
    """Return what a notebook shows of a comparison: the table and the strips, as a piece of HTML."""
    return page.rendered(out, "glance.html", _table(record, rows, out) | {"strips": _strips(record, rows)})


def standing(states: Sequence[JobState], status: str) -> dict[str, Any]:
    """Return how far a comparison has come, which is another at any time; `status` says it in a line."""
    named = {kind: [state for state in states if state.state == kind] for kind in ("running", "failed")}
    unfinished = any(state.state != "finished" for state in states)
    return {
        "state": f"{'unfinished' if unfinished else 'finished'}: {status}",
        "running": [(state.job.name, doing(state)) for state in named["running"]],
        "failed": [(state.job.name, f"{state.doing}: {state.reason}") for state in named["failed"]],
    }


def sections(record: Record, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    """Return what a page says of the runs of a comparison, as far as they have come."""
    config = record.config
    every = (Run(case.found(out, seed)) for case in cases(config) for seed in config.seeds)
    first = next((run for run in every if run.finished), None)
    return {
        "kind": "Comparison",
        "data": config.data,
        "asked": [(name, _listed(value)) for name in _ASKED if (value := getattr(config, name))],
        "environment": (parts.environment(first) if first else {})
        | {"command": shlex.join(["supernet", *command(config, out)])},
        "next": shlex.join(["supernet", *going_on(config, out)]),
        **_table(record, rows, out),
        "strips": _strips(record, rows),
        "costs": _costs(record, rows),
        "curves": _curves(record, out),
        **_decided(record, rows, out),
        **_cells(rows),
        "searches": _searches(record, rows, out),
        "retrained": config.retrain is not None,
    }


def _listed(value: Any) -> str:
    """Return a setting as text: a list or a mapping without its brackets."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_listed(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(record: Record, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    head, *lines = table.cells(record, rows)
    baseline = table.baseline_label(record, rows)
    return {"head": head, "lines": lines, "baseline": baseline, "notes": table.notes(record, rows, out)}


def _measures(record: Record) -> dict[str, str]:
    """Return the accuracies that a row has, each with the label of its axis; the one that counts comes first."""
    known = measured_by(record)
    accuracy = "test accuracy in the table (%)" if known else "the search's accuracy on validation images (%)"
    retrained = {"retrained": "accuracy after retraining (%)"} if record.config.retrain else {}
    return retrained | {"accuracy": accuracy}


def _strips(record: Record, rows: Sequence[Row]) -> list[Markup]:
    found = []
    for kind, label in _measures(record).items():
        values = {row.label: row.apart(kind) for row in rows if getattr(row, kind)}
        marks = {row.label: [row.results[seed].collapsed for seed in values.get(row.label, ())] for row in rows}
        if values:
            strips = {name: list(some.values()) for name, some in values.items()}
            found.append(parts.figure("draw_strips", strips, label, marks))
    return found


def _costs(record: Record, rows: Sequence[Row]) -> Markup | None:
    for kind, label in _measures(record).items():
        points = {
            row.label: [(value, row.results[seed].passes, row.results[seed].seconds) for seed, value in values.items()]
            for row in rows
            if row.searched and (values := getattr(row, kind))
        }
        if points:
            return parts.figure("draw_costs", points, ["passes", "seconds"], label)
    return None


def _curves(record: Record, out: Path) -> list[Markup]:
    """Return the accuracies of all searches over their epochs, also of those that have not finished."""
    config, known = record.config, measured_by(record)
    folders = {case.search: [case.folder(out, seed) for seed in config.seeds] for case in cases(config)}
    metrics = {
        name: [Run(folder).metrics for folder in some if (folder / "metrics.jsonl").exists()]
        for name, some in folders.items()
    }
    labels = {"valid_accuracy": "supernet's accuracy on validation images (%)"}
    found = {
        label: {name: [[_percent(row.get(field)) for row in rows] for rows in some] for name, some in metrics.items()}
        for field, label in labels.items()
    }
    if known:
        found["test accuracy in the table, of the architecture so far (%)"] = {
            name: [[row.get("table", {}).get(known) for row in rows] for rows in some] for name, some in metrics.items()
        }
    return [
        parts.figure("draw_trajectory", curves, None, label)
        for label, curves in found.items()
        if any(value is not None for some in curves.values() for curve in some for value in curve)
    ]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _decided(record: Record, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    """Return how far the seeds of each row agree, in sentences and as a figure for every set of edges."""
    found: dict[str, Agreement] = {}
    figures: dict[tuple[str, ...], dict[str, Mapping[str, Mapping[str, int]]]] = {}
    for row in rows:
        if row.searched:
            home = space(row.space)
            agreed = agreement(home, [home.parse(result.architecture) for result in row.results.values()])
            found[row.label] = agreed
            figures.setdefault(tuple(agreed.edges), {})[row.label] = agreed.edges
    told = {
        case.label: _settled(Run(case.found(out, seed)) for seed in record.config.seeds)
        for case in cases(record.config)
    }
    return {
        "decided": [(label, f"{each}{told[label]}.") for label, each in found.items()],
        "agreement": [parts.figure("draw_agreement", labels, LEFT_OUT) for labels in figures.values()],
    }


def _settled(runs: Iterable[Run]) -> str:
    """Return how many edges the searches of one row have settled on average, as the end of a sentence."""
    margins = [each for run in runs if run.finished and (each := run.summary.get("margins"))]
    if not margins:
        return ""
    mean = fmean(each["settled"] for each in margins)
    return f"; within a search {mean:.1f} of {len(margins[0]['edges'])} edges are settled on average"


def _cells(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the architectures that were found most often, drawn, with who found them, and the number of the others."""
    found, cells = found_by(rows), []
    for (name, text), finders in found[:_DRAWN]:
        home = space(name)
        picture = parts.figure("draw_architecture", home, home.parse(text))
        who = "; ".join(f"{label}, seed{'s' * (len(seeds) > 1)} {_listed(seeds)}" for label, seeds in finders.items())
        cells.append({"text": text, "picture": picture, "count": sum(map(len, finders.values())), "who": who})
    return {"cells": cells, "others": len(found) - len(cells)}


def _searches(record: Record, rows: Sequence[Row], out: Path) -> list[dict[str, Any]]:
    """Return every search with the address of its page, relative to the comparison's."""
    results = {row.label: row.results for row in rows}
    found = []
    for case in cases(record.config):
        for seed, result in results.get(case.label, {}).items():
            run = Run(case.found(out, seed))
            file, memory = run.path / page.NAME, parts.environment(run).get("peak memory", "")
            address = quote(file.relative_to(out).as_posix()) if file.exists() else ""
            found.append({"label": case.label, "seed": seed, "address": address, "memory": memory, "result": result})
    return found
