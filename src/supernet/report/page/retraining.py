"""The sections of a retraining's page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from supernet.data import Images
from supernet.engine.files import read_json
from supernet.engine.glance import size as size_of
from supernet.engine.records import EvaluationRecord, check
from supernet.engine.run import Run
from supernet.report.page import parts
from supernet.report.text import as_argument

_ASKED = ("recipe", "space", "epochs", "batch_size", "width", "depth", "seed", "device", "precision")
_MEASURED = {
    "valid_accuracy": "validation images",
    "test_accuracy": "test images",
    "balanced_accuracy": "the same, balanced",
    "accuracy": "training, augmented",
}


def sections(run: Run, images: Images | None, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page says of a retraining; without what is not there. `summary` is empty for an unfinished one."""
    config, rows, done = run.config, run.metrics, bool(summary)
    charts = [parts.chart("accuracy (%)", rows, _MEASURED, 100), parts.chart("training loss", rows, {"loss": "loss"})]
    confusion = parts.picture(run, "confusion.svg")
    return {
        **parts.shared(run, images, _ASKED, ("classes", "genotype")),
        "kind": "Retraining",
        "state": "" if done else parts.unfinished(run),
        "facts": _facts(summary, balanced=config.get("balance", "none") != "none"),
        "architecture": config["architecture"],
        "pictures": {} if confusion is None else {"confusion": confusion},
        "charts": [chart for chart in charts if chart is not None],
        "next": f"supernet evaluate {shlex.quote(as_argument(run.path))}" if done else "",  # only the same goes on
        "evaluation": _evaluation(run, images),
    }


def _facts(summary: Mapping[str, Any], *, balanced: bool) -> list[tuple[str, str]]:
    """Return the first things that one wants to know, as (name, text); `balanced` is whether classes count alike."""
    if not summary:
        return []
    on = summary["measured_on"]
    found = [(f"{on} images", summary["accuracy"]), (f"{on} images, balanced", summary.get("balanced_accuracy"))]
    if on != "test":
        found.append(("test images", summary["test_accuracy"]))
        found.append(("test images, balanced", summary.get("test_balanced_accuracy")))
    by = " by balanced accuracy" if balanced and summary.get("balanced_accuracy") else ""
    best = f"in the best epoch{by}, {summary['best_epoch']}"
    size = size_of(summary["params"], summary["flops"])
    accuracies = [
        (name, f"{100 * each['last']:.2f} % after the last epoch, {100 * each['best']:.2f} % {best}")
        for name, each in found
        if each is not None
    ]
    return [*accuracies, ("size", size)]


def _evaluation(run: Run, images: Images | None) -> dict[str, Any] | None:
    """Return the evaluation of the last weights on the run's own data, with thumbnails of the worst mistakes."""
    file = run.path / "evaluation.json"
    if not file.is_file():
        return None
    try:
        found = check(EvaluationRecord, read_json(file), file, "evaluate again")
    except ValueError:  # a damaged one is left out
        return None
    x = None if images is None else images.x_test if found["images"] == "test" else images.x
    return dict(found) | {"mistakes": [_mistake(each, x) for each in found["mistakes"]]}


def _mistake(found: Mapping[str, Any], x: Any) -> dict[str, Any]:
    there = x is not None and 0 <= found["index"] < len(x)
    return dict(found) | {"source": parts.thumbnails(x, [found["index"]])[0] if there else ""}
