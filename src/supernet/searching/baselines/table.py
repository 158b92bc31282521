"""The table of baselines, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

import torch

from supernet.engine.device import described
from supernet.engine.files import write_atomically
from supernet.engine.measure import latency
from supernet.engine.records import last_accuracy
from supernet.engine.run import Run
from supernet.models.cost.scaling import TOLERANCE
from supernet.models.network import Network
from supernet.searching.baselines.rivals import NEAR, Rival
from supernet.searching.baselines.run import Baselines
from supernet.searching.compare.rows import Result, Row
from supernet.searching.compare.statistics import FEWEST, Spread
from supernet.searching.compare.table import in_markdown

Runs = Mapping[str, Mapping[int, Run]]


def accuracy(run: Run) -> float:
    """Return the accuracy in % after the last epoch, on the test images if there are some."""
    return 100 * last_accuracy(run.summary)


def write(baselines: Baselines, runs: Runs) -> str:
    """Write table.md and results.json into the folder, and return the former."""
    rows = [_data(baselines, rival, runs[rival.label]) for rival in baselines.rivals]
    compared = [Row(row["label"], row["results"]) for row in rows]
    for row, entry in zip(compared[1:], rows[1:], strict=True):
        entry["difference"] = row.against(compared[0])
    text = f"{in_markdown(_cells(rows))}\n\n{_notes(baselines, runs)}\n"
    write_atomically(baselines.path / "table.md", text.encode())
    plain = baselines.asked.record | {"rows": [_plain(row) for row in rows], "told": baselines.told}
    write_atomically(baselines.path / "results.json", (json.dumps(plain, indent=2) + "\n").encode())
    return text


def _data(baselines: Baselines, rival: Rival, runs: Mapping[int, Run]) -> dict[str, Any]:
    results = {seed: Result(run.summary["architecture"], accuracy(run), None) for seed, run in runs.items()}
    means = {name: fmean(run.summary[name] for run in runs.values()) for name in ("params", "flops")}
    plan = baselines.plan_of(rival, next(iter(runs)))
    network = Network(plan.space, plan.genotype, plan.network_size).eval().to(plan.device)
    x = torch.zeros(1, plan.network_size.channels, *plan.network_size.image_size, device=plan.device)
    size = {"width": plan.network_size.width, "depth": plan.network_size.depth}
    return {"label": rival.label, **size, **means, "ms": latency(network, x).median, "results": results}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    found = row.get("difference")
    results = {str(seed): asdict(result) for seed, result in row["results"].items()}
    difference = None if found is None else asdict(found) | {"words": found.words}
    return {**row, "results": results, "difference": difference}


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    head = ["network", "n", "width", "depth", "M parameters", "M FLOPs", "ms", "accuracy, mean ± std"]
    lines = [[*head, f"against {rows[0]['label']}"]]
    for row in rows:
        spread = Spread.of([result.accuracy for result in row["results"].values()])
        sizes = [str(row["width"]), str(row["depth"]), f"{row['params'] / 1e6:.4f}", f"{row['flops'] / 1e6:.3f}"]
        against = str(row.get("difference") or "")
        lines.append([row["label"], str(len(row["results"])), *sizes, f"{row['ms']:.3g}", str(spread), against])
    return lines


def _notes(baselines: Baselines, runs: Runs) -> str:
    """Return what the numbers are, in sentences."""
    asked, first = baselines.asked, next(iter(next(iter(runs.values())).values()))
    config = asked.plan.config
    images = "test" if first.summary["test_accuracy"] is not None else "validation"
    told = [
        f"Accuracy: on the {images} images (%), after the last of {config.epochs} epochs by recipe "
        f"{asked.plan.recipe}, the same for all. n: seeds. Std: sample standard deviation over the seeds.",
        f"Same: to {100 * TOLERANCE:g} %, by the width, and by the depth if need be.",
    ]
    if asked.like is not None:
        told.append(f"Random: an architecture of the space for each seed, of the same cost to {100 * NEAR:g} %.")
    told += [
        f"Ms: median time of one image, on {described(asked.plan.device)}.",
        "Against: the mean of the differences by seed, and its 95 % bootstrap interval; "
        f"of fewer than {FEWEST} seeds it only tells noise.",
        *(f"{text[:1].upper()}{text[1:]}." for text in baselines.told),
    ]
    return " ".join(told)
