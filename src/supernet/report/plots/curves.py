"""Curves: accuracies of many searches over epochs or queries, and the loss and accuracies of one training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from supernet.report.plots.panels import Floats, add_legend, far_below, floats
from supernet.report.plots.style import METHOD_COLOURS, STYLE, mark_epochs

Curve = Sequence[float | None]  # one number per epoch or query; None and NaN are gaps
Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch
Runs = Mapping[str, Sequence[Curve]]  # per method, one curve per seed, of any lengths

_BLUE, _RED, _GREEN = METHOD_COLOURS[:3]
_LOOKS = list(product(("-", "--", ":"), METHOD_COLOURS))  # of methods: first all colours, then another line
_MEASURED = {"valid_accuracy": "validation images", "test_accuracy": "test images"}  # every row has one of them
_EARLY = 0.03  # the share of the queries whose means may lie below the picture: the first architectures are poor


@mpl.rc_context(STYLE)
def draw_trajectory(
    runs: Runs,
    references: Mapping[str, float] | None = None,
    ylabel: str = "test accuracy of the derived architecture (%)",
) -> Figure:
    """Draw an accuracy (%) per epoch, counted from 1: per method the mean over its seeds, and a faint line per seed.

    The band is one sample standard deviation to either side of the mean, where two or more seeds have a number.
    `references` are drawn as dashed lines, name to value. Accuracies far below all others are outside of the picture;
    the legend counts them.
    """
    return _draw_runs(runs, references or {}, "epoch", ylabel, seeds=True)


@mpl.rc_context(STYLE)
def draw_tabular(runs: Runs, references: Mapping[str, float] | None = None, ylabel: str = "accuracy (%)") -> Figure:
    """Draw an accuracy (%) after each query of a table: like `draw_trajectory`, without the lines of the seeds.

    The y axis begins at the lowest mean after the first 3 % of the queries; the legend counts the means below it.
    """
    return _draw_runs(runs, references or {}, "queries", ylabel, seeds=False)


def _draw_runs(runs: Runs, references: Mapping[str, float], xlabel: str, ylabel: str, *, seeds: bool) -> Figure:
    figure = Figure(figsize=(6.8, 4.3), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    lines = [
        line
        for (method, curves), look in zip(runs.items(), cycle(_LOOKS), strict=False)
        for line in _draw_method(axes, method, curves, *look, seeds=seeds)
    ]
    for (name, value), style in zip(references.items(), cycle(("--", ":", "-.")), strict=False):
        axes.axhline(value, color="#777777", ls=style, lw=1, zorder=1, label=name)
    _leave_out_low(axes, lines, list(references.values()), seeds=seeds)
    mark_epochs(axes, range(1, 1 + max((len(curve) for curves in runs.values() for curve in curves), default=0)), 10)
    band = Patch(color="#777777", alpha=0.2, lw=0, label="± 1 standard deviation")
    bands = [band] * any(len(curves) > 1 for curves in runs.values())
    add_legend(figure, [*axes.get_legend_handles_labels()[0], *bands])
    return figure


def _leave_out_low(axes: Axes, lines: Sequence[Floats], references: Sequence[float], *, seeds: bool) -> None:
    """End the picture above the values that are far below the others, or early ones, and count these in the legend."""
    drawn = np.concatenate([np.zeros(0), *lines])
    drawn = drawn[np.isfinite(drawn)]
    late = np.concatenate([np.zeros(0), *(line[int(_EARLY * len(line)) :] for line in lines)])
    shown = drawn[~far_below(drawn)] if seeds and len(drawn) else late
    shown = np.concatenate([shown[np.isfinite(shown)], references])
    if not len(shown):
        return
    hidden = int((drawn < shown.min()).sum())
    if hidden or (not seeds and shown.max() > shown.min()):
        margin = 0.05 * (shown.max() - shown.min()) or 0.5
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    if hidden:
        axes.plot([], [], "v", color="#777777", ms=5, label=f"lower, not shown: {hidden}")


def _draw_method(
    axes: Axes, method: str, curves: Sequence[Curve], style: str, shade: str, *, seeds: bool
) -> Sequence[Floats]:
    """Draw a method and return the values of its lines: those of the seeds, or without these their mean."""
    table = np.full((len(curves), max(map(len, curves), default=0)), math.nan)
    for seed, curve in enumerate(curves):
        table[seed, : len(curve)] = floats(curve)
    epochs = np.arange(1, table.shape[1] + 1)
    measured = np.ma.masked_invalid(table)
    mean, spread = (np.ma.filled(part, math.nan) for part in (measured.mean(axis=0), measured.std(axis=0, ddof=1)))
    marker = "." if len(epochs) == 1 else ""
    for row in table if seeds else ():
        axes.plot(epochs, row, color=shade, lw=0.6, alpha=0.35, marker=marker)
    axes.fill_between(epochs, mean - spread, mean + spread, color=shade, alpha=0.15, lw=0)
    axes.plot(epochs, mean, style, color=shade, lw=2, marker=marker, label=method)
    return [*table] if seeds else [mean]


@mpl.rc_context(STYLE)
def draw_training(rows: Rows, *, balanced: bool = False) -> Figure:
    """Draw the loss of a training over its epochs on the left, the accuracies (%) on the right.

    `rows[i]` has "loss", "accuracy" (0 to 1) of the training images, "valid_accuracy" or "test_accuracy" (0 to 1),
    "balanced_accuracy" on the same images where classes are unequal, and "best": whether the epoch was the best up to
    then. The last such epoch gets a ring, on the curve of the balanced accuracy if that decides (`balanced`).
    """
    figure = Figure(figsize=(8.4, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_rows(left, rows, "loss", 1, _BLUE)
    _draw_rows(right, rows, "accuracy", 100, _BLUE, "training images, augmented")
    for name, label in _MEASURED.items():
        if rows and name in rows[0]:
            unequal = "balanced_accuracy" in rows[0]
            _draw_rows(right, rows, name, 100, _RED, label)
            if unequal:
                _draw_rows(right, rows, "balanced_accuracy", 100, _GREEN, f"{label}, balanced")
            chosen_by = ("balanced_accuracy", _GREEN) if balanced and unequal else (name, _RED)
            _ring_best(right, [row for row in rows if row["best"]][-1], *chosen_by)
    left.set(title="training loss", ylabel="loss")
    right.set(title="accuracy", ylabel="accuracy (%)")
    add_legend(figure, right.get_legend_handles_labels()[0])
    return figure


def _draw_rows(axes: Axes, rows: Rows, name: str, factor: int, shade: str, label: str | None = None) -> None:
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) == 1 else ""
    axes.plot(epochs, [factor * row[name] for row in rows], color=shade, lw=1.6, marker=marker, label=label)
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    mark_epochs(axes, epochs, 8)


def _ring_best(axes: Axes, row: Mapping[str, Any], name: str, shade: str) -> None:
    epoch, accuracy = row["epoch"], 100 * row[name]
    label = f"best: {accuracy:.2f} %, epoch {epoch}"
    axes.plot(epoch, accuracy, color=shade, marker="o", ms=7, mfc="none", ls="", label=label)
