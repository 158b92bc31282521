"""Picture of one training: its loss and its accuracies over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from supernet.report.plots.style import METHOD_COLOURS, STYLE

Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch
_MEASURED = {"valid_accuracy": "held-out images", "test_accuracy": "test images"}  # a row has one of them


@mpl.rc_context(STYLE)
def draw_training(rows: Rows) -> Figure:
    """Draw the loss of a training over its epochs on the left, its accuracies (%) on the right.

    `rows[i]` has "loss", "accuracy" of the training images, "valid_accuracy" or "test_accuracy" (0 to 1), and "best":
    whether that was the highest until then. The last of these gets a ring.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, rows, "loss", 1, METHOD_COLOURS[0])
    _draw(right, rows, "accuracy", 100, METHOD_COLOURS[0], "training images, augmented")
    for name, label in _MEASURED.items():
        if rows and name in rows[0]:
            _draw(right, rows, name, 100, METHOD_COLOURS[1], label)
            _ring_best(right, [row for row in rows if row["best"]][-1], name)
    left.set(title="training loss", ylabel="loss")
    right.set(title="accuracy", ylabel="accuracy (%)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw(axes: Axes, rows: Rows, name: str, factor: int, shade: str, label: str | None = None) -> None:
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) == 1 else ""
    axes.plot(epochs, [factor * row[name] for row in rows], color=shade, lw=1.6, marker=marker, label=label)
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def _ring_best(axes: Axes, row: Mapping[str, Any], name: str) -> None:
    place = (row["epoch"], 100 * row[name])
    label = f"best: {place[1]:.2f} %, epoch {place[0]}"
    axes.plot(*place, color=METHOD_COLOURS[1], marker="o", ms=7, mfc="none", ls="", label=label)
