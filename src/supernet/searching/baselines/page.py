"""The page of baselines: their table, and every training at its cost."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from supernet.engine.run import Run
from supernet.models.cost.scaling import UNITS
from supernet.report import page
from supernet.report.page import parts
from supernet.searching.baselines.run import Asked
from supernet.searching.baselines.table import Baselines, cells
from supernet.searching.compare.page import TEMPLATE


def write(found: Baselines, asked: Asked, run: Run, count: int) -> Path:
    """Write report.html into the folder of `count` trainings, of which `run` is one, and return the file."""
    return page.write_page(found.path, TEMPLATE, _sections(found, asked, run, count))


def _sections(found: Baselines, asked: Asked, run: Run, count: int) -> dict[str, Any]:
    head, *lines = cells(found.rows)
    first, done = found.rows[0].label, sum(len(row.results) for row in found.rows)
    plan, budget = asked.plan, {UNITS[name]: f"{wanted:,}" for name, wanted in asked.budget.items()}
    about = {"like": asked.like, **budget, "recipe": plan.recipe, "epochs": plan.config.epochs}
    about["seeds"] = ", ".join(map(str, asked.seeds))
    environment = parts.environment(run)
    environment.pop("command", None)  # of one training
    return {
        "kind": "Baselines",
        "data": plan.images.name,
        "state": f"{'finished' if done == count else 'unfinished'}: {done} of {count} trainings",
        "asked": [(name, str(value)) for name, value in about.items() if value is not None],
        "head": head,
        "lines": lines,
        "baseline": first,
        "notes": found.notes,
        "itself": None if asked.like is None else "the found network",
        "costs": _costs(found, first),
        "environment": environment,
        "next": f"supernet evaluate {shlex.quote(str(run.path))}",
    }


def _costs(found: Baselines, first: str) -> Any:
    points = {
        row.label: [(each.accuracy, each.flops / 1e6, each.params / 1e6) for each in row.results.values()]
        for row in found.rows
    }
    return parts.figure("draw_costs", points, ["M FLOPs", "M parameters"], marked=first)
