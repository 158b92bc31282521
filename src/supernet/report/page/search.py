"""The sections of a search's page, and of a selection's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from supernet.data import Images
from supernet.engine.glance import size as size_of
from supernet.engine.records import last_standing
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.limits import Limits
from supernet.report.console import cost_of, targets
from supernet.report.page import parts
from supernet.report.text import accuracy, as_argument
from supernet.spaces import SearchSpace, recorded_space
from supernet.spaces.tables.entry import holds

_ASKED = ("method", "space", "selector", "epochs", "batch_size", "width", "depth", "seed", "device", "precision")


def sections(run: Run, images: Images | None, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page says of a search or a selection; None or nothing where something is not there.

    `summary` is empty for one that has not finished.
    """
    config, rows, done = run.config, run.metrics, bool(summary)
    last = last_standing(rows)
    space, folder = _space(config["space"]), shlex.quote(as_argument(run.path))
    return {
        **parts.shared(run, images, _ASKED, ("classes",)),
        "kind": "Search" if config["task"] == "search" else "Selection",
        "state": summary.get("verdict") or parts.unfinished(run),
        "facts": _facts(config, summary, last),
        "architecture": summary.get("architecture") or last.get("architecture"),
        "pictures": _pictures(run, space, last, done=done),
        "margins": summary.get("margins"),
        "decisions": summary.get("decisions") or [],
        "criterion": summary.get("criterion"),
        "charts": _charts(rows),
        "front": _front(summary),
        "curvature": summary.get("curvature"),
        "table": summary.get("table_entry"),
        "of_table": holds(config["data_name"], config["classes"]),
        "next": f"supernet retrain {folder}" if done else _going_on(config, folder),
    }


def _going_on(config: Mapping[str, Any], folder: str) -> str:
    """Return the command that goes on with a search; a selection is gone on with by the same command only."""
    return f"supernet search --config {folder} --out {folder}" if config["task"] == "search" else ""


def _front(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the architectures along their cost, with their costs as texts."""
    if not (front := summary.get("front")):
        return None
    points = [point | {"cost": cost_of(front["cost"], point["cost"])} for point in front["points"]]
    return dict(front) | {"points": points}


def _space(name: str) -> SearchSpace | None:
    """Return the space of a run, None for one of the user's own."""
    try:
        return recorded_space(name)
    except UserError:
        return None


def _facts(config: Mapping[str, Any], summary: Mapping[str, Any], last: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the first things that one wants to know, as (name, text)."""
    found: list[tuple[str, str]] = []
    if measured := summary.get("measured"):
        found.append(("accuracy", accuracy(measured)))
    elif last.get("valid_accuracy") is not None:
        found.append(("accuracy", f"{100 * last['valid_accuracy']:.2f} % of the supernet, on validation images"))
    if summary.get("margins"):
        found.append(("decided", summary["margins"]["text"]))
    if "threshold" in summary:
        found.append(("threshold", summary["threshold"]))
    if "stopped" in summary:
        found.append(("stopped", "after epoch {epoch}: {reason}".format(**summary["stopped"])))
    if summary:
        size = size_of(summary["params"], summary["flops"])
        found.append(("size", size + " on these images ({width} channels, depth {depth})".format(**summary["target"])))
    if summary.get("latency"):
        found.append(("latency", "{ms:.3g} ms, {source}".format(**summary["latency"])))
    if summary.get("limits"):
        found.append(("limits", str(Limits(**summary["limits"]))))
    found += [("target", target) for target in targets(summary)]
    return found


def _charts(rows: parts.Rows) -> list[parts.Chart]:
    accuracies = {"valid_accuracy": "validation images", "accuracy": "training images"}
    found = [
        parts.chart("accuracy on these images (%)", rows, accuracies, 100),
        parts.chart("training loss", rows, {"loss": "loss"}),
    ]
    return [chart for chart in found if chart is not None]


def _pictures(run: Run, space: SearchSpace | None, last: Mapping[str, Any], *, done: bool) -> dict[str, Markup]:
    """Return the pictures in the folder; of an unfinished search in a known space, as it is now."""
    names = ("cell", "search", "diagnostics", "front")
    found = {name: parts.picture(run, f"{name}.svg") for name in names}
    if not done and space is not None and "architecture" in last:
        from supernet.report import plots  # imported here, since Matplotlib is slow to import

        genotype, edges = space.parse(last["architecture"]), plots.edges_of(space.cells)
        kept_above = plots.thresholds(run.config, space.cells)
        found["cell"] = parts.figure("draw_architecture", space, genotype)
        found["search"] = parts.figure("draw_search", run.metrics, edges, None, genotype, kept_above)
    return {name: picture for name, picture in found.items() if picture is not None}
