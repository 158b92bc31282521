"""The points of a front: what is known of each architecture, and which others dominate it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import fmean
from typing import Any

from supernet.engine.records import last_accuracy
from supernet.engine.run import Run
from supernet.retraining.recipes import Recipe
from supernet.spaces.tables.entry import dataset_of

Retrainings = dict[tuple[Any, ...], list[float]]
"""Accuracies of retrainings in %, by what has to be equal to compare them, see `_alike`."""


def run_of(run: Run, point: Mapping[str, Any]) -> Run:
    """Return the selection, or the search itself, that is a point of a search's front."""
    return Run(run.path / point["run"])


def drawn(run: Run) -> dict[str, Any]:
    """Return the front of a search as pictures and tables have it.

    Its points get accuracies, in %, as far as there are some: `supernet`, `retrained` on test images, after the last
    epoch, in the mean of the retrainings in the folder of the selection, and `table`, on the images of the search; and
    whether they are `dominated` by another one, by `retrained` if all have it, otherwise by `supernet`. Each of
    `series` is judged by its own accuracies. Only retrainings alike count, `alike` in words: those of the recipe
    with all its settings, and the images, that the most points have.
    """
    front: dict[str, Any] = run.summary["front"]
    points: list[dict[str, Any]] = []
    dataset = dataset_of(run.config["data_name"], len(run.config["classes"]))
    retrained, alike = _retrained(
        [_retrainings(run_of(run, point), point["architecture"]) for point in front["points"]]
    )
    for point, accuracy in zip(front["points"], retrained, strict=True):
        entry = run_of(run, point).summary["table_entry"]
        tests = {result["dataset"]: result["test"] for result in entry["results"]} if entry else {}
        more = {"supernet": 100 * point["supernet"], "retrained": accuracy, "table": tests.get(dataset)}
        points.append(point | more)
    judge = "supernet" if any(point["retrained"] is None for point in points) else "retrained"
    points = [point | {"dominated": out} for point, (*_, out) in zip(points, _judged(points, judge), strict=True)]
    names = {"supernet": "supernet, validation images", "retrained": "retrained, test images", "table": "table"}
    series = {title: _judged(points, name) for name, title in names.items()}
    title = {"params": "parameters", "flops": "FLOPs", "latency": "latency (ms)"}.get(front["cost"], front["cost"])
    series = {name: some for name, some in series.items() if some}
    return front | {"points": points, "series": series, "title": title, "alike": alike}


def _judged(points: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float, bool]]:
    """Return cost and accuracy of the points that have this accuracy, and whether another one of them dominates."""
    pairs = [(point["cost"], point[name]) for point in points if point[name] is not None]
    return [(*pair, out) for pair, out in zip(pairs, dominated(pairs), strict=True)]


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return of each point (cost, accuracy) whether another one has no more cost and no less accuracy, and not both."""

    def beaten(cost: float, accuracy: float) -> bool:
        return any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)

    return [beaten(*point) for point in points]


def _retrained(found: Sequence[Retrainings]) -> tuple[list[float | None], str]:
    """Return the mean accuracy of each point's retrainings, None without one, and in words which are counted.

    They are those that the most points have; of equals, those of the most epochs.
    """
    points = Counter(alike for each in found for alike in each)
    if not points:
        return [None] * len(found), ""
    alike = max(points, key=lambda each: (points[each], each))
    epochs, recipe, *_ = alike
    means = [fmean(each[alike]) if alike in each else None for each in found]
    return means, f"by recipe {recipe}, {epochs} epoch{'s' * (epochs > 1)}"


def _retrainings(selection: Run, architecture: str) -> Retrainings:
    """Return the accuracies on test images, in %, of the retrainings in a folder that are of an architecture.

    A search that has gone on may have others in its folder, of what it had found before.
    """
    found: Retrainings = defaultdict(list)
    for each in (Run(file.parent) for file in sorted(selection.path.glob("*/summary.json"))):
        if each.task != "retrain" or each.config["architecture"] != architecture:
            continue
        if each.summary["test_accuracy"] or each.summary["measured_on"] == "test":
            found[_alike(each.config)].append(100 * last_accuracy(each.summary))
    return found


def _alike(config: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return the epochs and the recipe of a retraining, and as text its images and every setting of the recipe.

    All recipes of a user's own have one name, and a published one may have been changed.
    """
    names = ["fingerprint", *(entry.name for entry in fields(Recipe))]
    return config["epochs"], config["recipe"], json.dumps([config.get(name) for name in names])
