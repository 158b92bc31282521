"""The page of baselines: their table, and every training at its cost."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from supernet.report import page
from supernet.report.page import parts
from supernet.report.text import as_argument
from supernet.searching.baselines.table import Baselines, cells
from supernet.searching.compare.page import TEMPLATE


def write(found: Baselines) -> Path:
    """Write report.html into the folder of the trainings, and return the file."""
    return page.write_page(found.path, TEMPLATE, _sections(found))


def _sections(found: Baselines) -> dict[str, Any]:
    head, *lines = cells(found.rows)
    first, done = found.rows[0].label, sum(len(row.results) for row in found.rows)
    run = found.training
    environment = {} if run is None else parts.environment(run)
    environment.pop("command", None)  # of one training
    return {
        "kind": "Baselines",
        "data": found.asked["data"],
        "state": f"{'finished' if done == found.count else 'unfinished'}: {done} of {found.count} trainings",
        "asked": [(name, value) for name, value in found.asked.items() if name != "data"],
        "head": head,
        "lines": lines,
        "baseline": first,
        "notes": found.notes,
        "itself": "the found network" if "like" in found.asked else None,
        "costs": _costs(found, first),
        "environment": environment,
        "next": f"supernet evaluate {shlex.quote(found.asked['like'] if run is None else as_argument(run.path))}",
    }


def _costs(found: Baselines, first: str) -> Any:
    points = {
        row.label: [(each.accuracy, each.flops / 1e6, each.params / 1e6) for each in row.results.values()]
        for row in found.rows
    }
    return parts.figure("draw_costs", points, ["M FLOPs", "M parameters"], marked=first)
