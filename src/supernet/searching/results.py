"""The results of a finished search or selection: pictures, genotype, and the summary, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from supernet.engine.run import Run
from supernet.models.cost.count import cost
from supernet.searching import curvature
from supernet.searching.collapse import verdict
from supernet.searching.plan import Plan
from supernet.spaces import tables
from supernet.spaces.genotype import Genotype


def write(run: Run, plan: Plan, genotype: Genotype, stopped: str) -> None:
    """Write pictures, genotype and summary of a search; a run with a summary is finished, so the summary comes last.

    `stopped` says why the method has ended the search; it is empty if all epochs were run.
    """
    _pictures(run, plan, genotype)
    more: dict[str, Any] = {"stopped": {"epoch": len(run.metrics), "reason": stopped}} if stopped else {}
    more |= {"curvature": curvature.in_words(run.metrics)} if plan.config.monitor == "hessian" else {}
    _write(run, plan, genotype, {"selector": plan.selector.name} | more)


def write_selection(run: Run, plan: Plan, genotype: Genotype, selector: str, report: Mapping[str, Any]) -> None:
    """Write picture, genotype and summary of a selection from the search of `plan`, with the selector's report."""
    _cell(run, plan, genotype)
    _write(run, plan, genotype, {"selector": selector, **report})


def _write(run: Run, plan: Plan, genotype: Genotype, more: Mapping[str, Any]) -> None:
    run.write("genotype.json", json.dumps(genotype.to_json(), indent=2) + "\n")
    run.write("summary.json", json.dumps(_summary(run, plan, genotype) | dict(more), indent=2) + "\n")


def _cell(run: Run, plan: Plan, genotype: Genotype) -> None:
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    plots.save(plots.draw_cell(genotype, _learned(plan), list(plan.space.cells)), run.path / "cell.svg")


def _learned(plan: Plan) -> set[str]:
    """Return the operations of the space that have weights."""
    ops = {op for cell in plan.space.cells.values() for edge in cell.edges for op in edge.ops}
    return {op for op in ops if plan.space.primitive(op).learned}


def _pictures(run: Run, plan: Plan, genotype: Genotype) -> None:
    from supernet.report import plots

    _cell(run, plan, genotype)
    edges = plots.edges_of(plan.space.cells)
    plots.save(plots.draw_search(run.metrics, edges, "c10_test" if plan.space.table else None), run.path / "search.svg")
    if plan.config.monitor == "gradients":
        plots.save(plots.draw_diagnostics(run.metrics, _learned(plan)), run.path / "diagnostics.svg")
    if plan.config.monitor == "hessian":
        figure = plots.draw_curvature(run.metrics, curvature.grown(run.metrics))
        plots.save(figure, run.path / "diagnostics.svg")


def _summary(run: Run, plan: Plan, genotype: Genotype) -> dict[str, Any]:
    feasible, price = plan.feasible, cost(plan.space, genotype, plan.target)
    latency = feasible.latency and {"ms": feasible.latency.ms(genotype), "source": feasible.latency.source}
    table = None if plan.space.table is None else tables.load(plan.space.table)
    return {
        "genotype": genotype.to_json(),
        "architecture": str(genotype),
        "verdict": str(verdict(plan.space, genotype)),
        "params": price.params,
        "flops": price.flops,
        "target": {"width": plan.target.width, "depth": plan.target.depth},
        "limits": asdict(feasible.limits) if feasible.limits else None,
        "latency": latency,
        "table_entry": None if table is None else table.summary(table.index(genotype)).to_json(),
        "forward_backward": run.metrics[-1]["forward_backward"] if run.metrics else 0,
        "seconds": round(sum(row["seconds"] for row in run.metrics), 1),
    }
