"""The results of a finished search or selection: pictures, genotype, and the summary, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from supernet.engine.processes import by_first
from supernet.engine.records import standing
from supernet.engine.run import Run
from supernet.models.cost.count import cost
from supernet.models.cost.expected import Expected
from supernet.models.cost.targets import known, named
from supernet.report import page
from supernet.searching import curvature
from supernet.searching.collapse import Verdict, verdict
from supernet.searching.margins import Rows, advice, luck, margins
from supernet.searching.plan import Plan
from supernet.selectors import Preset
from supernet.spaces import tables
from supernet.spaces.genotype import Genotype


@by_first
def write(run: Run, plan: Plan, genotype: Genotype, report: Mapping[str, Any], stopped: str) -> None:
    """Write pictures, genotype, page and summary of a search; a run with a summary is finished, so it comes last.

    `report` is the selector's. `stopped` says why the search has ended by itself; it is empty if all epochs were run.
    """
    _pictures(run, plan, genotype)
    more: dict[str, Any] = {"stopped": {"epoch": len(run.metrics), "reason": stopped}} if stopped else {}
    more |= {"curvature": curvature.in_words(run.metrics)} if plan.config.monitor == "hessian" else {}
    _write(run, plan, genotype, {"selector": plan.selector.name, **report} | more, plan.selector, run.metrics)


@by_first
def write_selection(
    run: Run, plan: Plan, genotype: Genotype, report: Mapping[str, Any], selector: Preset, searched: Rows
) -> None:
    """Write picture, genotype, page and summary of a selection, with the selector's report.

    `searched` are the rows of the search of `plan` up to the epoch that the selection is from.
    """
    _cell(run, plan, genotype)
    _write(run, plan, genotype, {"selector": selector.name, **report}, selector, searched)


def _write(run: Run, plan: Plan, genotype: Genotype, more: Mapping[str, Any], selector: Preset, searched: Rows) -> None:
    rows = standing(searched)
    decided = _decided(plan, genotype, rows, more, by_scores=selector.load().quick)
    run.write("genotype.json", json.dumps(genotype.to_json(), indent=2) + "\n")
    found = _summary(run, plan, genotype) | _targets(plan, genotype, rows) | decided | dict(more)
    page.write(run, plan.images, found)
    run.write("summary.json", json.dumps(found, indent=2) + "\n")


def _targets(plan: Plan, genotype: Genotype, rows: Rows) -> dict[str, Any]:
    """Return the network's cost beside each target, and what the op scores of the last epoch let expect."""
    if not plan.config.targets:
        return {}
    last: Mapping[str, Any] = rows[-1].get("targets", {}) if rows else {}
    costs = {name: Expected(plan.feasible, name).of(genotype) for name in named(plan.config.targets)}
    found = {
        name: {"target": target, "expected": last.get(name, {}).get("expected"), "network": known(costs[name])}
        for name, target in named(plan.config.targets).items()
    }
    return {"targets": found}


def _cell(run: Run, plan: Plan, genotype: Genotype) -> None:
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    plots.save(plots.draw_architecture(plan.space, genotype), run.path / "cell.svg")


def _pictures(run: Run, plan: Plan, genotype: Genotype) -> None:
    from supernet.report import plots

    _cell(run, plan, genotype)
    edges = plots.edges_of(plan.space.cells)
    field, kept_above = "c10_test" if plan.space.table else None, plots.thresholds(run.config, plan.space.cells)
    figure = plots.draw_search(run.metrics, edges, field, genotype, kept_above)
    plots.save(figure, run.path / "search.svg")
    if plan.config.monitor == "gradients":
        plots.save(plots.draw_diagnostics(run.metrics, plots.learned(plan.space)), run.path / "diagnostics.svg")
    if plan.config.monitor == "hessian":
        figure = plots.draw_curvature(run.metrics, curvature.grown(run.metrics))
        plots.save(figure, run.path / "diagnostics.svg")


def _decided(
    plan: Plan, genotype: Genotype, rows: Rows, report: Mapping[str, Any], *, by_scores: bool
) -> dict[str, Any]:
    """Return the margins, if op scores decided, the accuracy on these images, and the verdict that follows from all."""
    found = margins(plan.space, genotype, rows) if by_scores else None
    measured = report["measured"] if "measured" in report else _measured(plan, genotype, rows, report)
    chance = luck(measured["accuracy"], _labels(plan, measured), measured["count"]) if measured else ""
    doubts = [doubt for doubt in (chance, found.doubt if found else "") if doubt]
    state = verdict(plan.space, genotype)
    if doubts and state.state != "collapsed":
        state = Verdict("undecided", "; ".join([*doubts, advice(plan.config.method_config)]))
    return {"measured": measured, "margins": found and found.to_json(), "verdict": str(state)}


def _measured(plan: Plan, genotype: Genotype, rows: Rows, report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the accuracy that the search ends with, None if there is none.

    It is that of the chosen path, if the selector has measured it; that of the chosen architecture alone, if the method
    has trained it, and none if it has trained others alone; otherwise that of the supernet after the last epoch, on
    validation images, or on those that train it where these are all.
    """
    last, validation = rows[-1] if rows else {}, len(plan.parts[1])
    if {"supernet_accuracy", "images"} <= report.keys():
        return _accuracy("path", "validation", report["images"], report["supernet_accuracy"])
    if last.get("best_accuracy", -1) >= 0:
        is_best = last.get("architecture") in (None, str(genotype))  # a selector may choose another than op scores do
        return _accuracy("alone", "validation", validation, last["best_accuracy"]) if is_best else None
    if last.get("valid_accuracy") is not None:
        return _accuracy("supernet", "validation", validation, last["valid_accuracy"])
    if last.get("accuracy") is not None:
        return _accuracy("supernet", "training", sum(map(len, plan.parts)), last["accuracy"])
    return None


def _accuracy(of: str, images: str, count: int, accuracy: float) -> dict[str, Any]:
    return {"of": of, "images": images, "count": count, "accuracy": accuracy}


def _labels(plan: Plan, measured: Mapping[str, Any]) -> Tensor:
    """Return the labels of the images that an accuracy was measured on, all of them or some."""
    train, validation = plan.parts
    return plan.images.y[validation if measured["images"] == "validation" else torch.cat([train, validation])]


def _summary(run: Run, plan: Plan, genotype: Genotype) -> dict[str, Any]:
    feasible, price = plan.feasible, cost(plan.space, genotype, plan.target)
    latency = feasible.latency and {"ms": feasible.latency.ms(genotype), "source": feasible.latency.source}
    table = None if plan.space.table is None else tables.load(plan.space.table)
    return {
        "genotype": genotype.to_json(),
        "architecture": str(genotype),
        "params": price.params,
        "flops": price.flops,
        "target": {"width": plan.target.width, "depth": plan.target.depth},
        "limits": asdict(feasible.limits) if feasible.limits else None,
        "latency": latency,
        "table_entry": None if table is None else table.summary(table.index(genotype)).to_json(),
        "forward_backward": run.metrics[-1]["forward_backward"] if run.metrics else 0,
        "seconds": round(sum(row["seconds"] for row in run.metrics), 1),
    }
