"""Pictures over the epochs: op weights of one search, its gradient diagnostics, accuracies of many searches."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from supernet.report.plots.panels import (
    Edges,
    Panel,
    add_legend,
    blocks,
    edge_panels,
    floats,
    operations,
    page,
    told_apart,
)
from supernet.report.plots.style import METHOD_COLOURS, STYLE, colour

Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch
Curve = Sequence[float | None]  # one number per epoch; None and NaN are gaps

_STYLES = ("-", "--", ":", "-.")  # of lines that have the same colour

_TITLES = {
    f"{key}_{split}": f"{word} accuracy of the derived architecture on {data} (table)"
    for key, data in (("c10", "CIFAR-10"), ("c100", "CIFAR-100"), ("in16", "ImageNet16-120"))
    for split, word in (("valid", "validation"), ("test", "test"))
}


@mpl.rc_context(STYLE)
def draw_search(rows: Rows, edges: Edges, known: str | None = None) -> Figure:
    """Draw the weights of the operations over the epochs, one panel per edge and one line per candidate.

    `rows[i]["op_scores"][kind][edge]` has one weight per op of `edges[kind][edge]`; what follows is padding. When `known`
    is given ("c10_test") and some row has that accuracy (%) of its derived architecture, a wide panel on top shows it.
    Kinds of cell with a single edge, as in a macro space, share one grid.
    """
    accuracy = floats((row.get("table") or {}).get(known) for row in rows)
    on_top = int(np.isfinite(accuracy).any())
    grids, ops = blocks(edges), operations(edges)
    styles = told_apart(ops, _STYLES)
    figure, grid = page(grids, ops, on_top)
    if known is not None and on_top:
        axes = figure.add_subplot(grid[0, :], xlabel="epoch", ylabel="accuracy (%)")
        axes.set_title(_TITLES.get(known, f"{known} of the derived architecture (table)"))
        axes.plot([row["epoch"] for row in rows], accuracy, color="#222222", marker=".", lw=1.4)
        _mark_epochs(axes, [row["epoch"] for row in rows], 10)
    _draw_weights(edge_panels(figure, grid, grids, ("epoch", "weight"), on_top), rows, styles)
    keys = [Line2D([], [], color=colour(op), lw=2, ls=styles[op], label=op) for op in ops]
    add_legend(figure, keys)
    return figure


def _draw_weights(panels: Sequence[tuple[Panel, Axes]], rows: Rows, styles: Mapping[str, str]) -> None:
    epochs = [row["epoch"] for row in rows]
    drawn = [np.zeros(0)]
    for (kind, edge, _, ops), axes in panels:
        for column, op in enumerate(ops):
            weights = floats(row["op_scores"][kind][edge][column] for row in rows)
            line = axes.plot(epochs, weights, color=colour(op), lw=1.6, ls=styles[op], label=op)[0]
            if len(rows) == 1:  # points, side by side: after one epoch all weights are still much the same
                line.set(marker=".", xdata=[epochs[0] + 0.6 * ((column + 0.5) / len(ops) - 0.5)])
            drawn.append(weights[np.isfinite(weights)])
        _mark_epochs(axes, epochs, 4)
    values = np.concatenate(drawn)
    if len(values) and values.min() >= 0 and values.max() > 0:
        panels[0][1].set_ylim(0, 1.05 * values.max())  # the others share its axes


def _mark_epochs(axes: Axes, epochs: Sequence[int], ticks: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


@mpl.rc_context(STYLE)
def draw_trajectory(
    runs: Mapping[str, Sequence[Curve]],
    references: Mapping[str, float] | None = None,
    ylabel: str = "test accuracy of the derived architecture (%)",
) -> Figure:
    """Draw per method the mean over its seeds of an accuracy (%) per epoch, epochs counted from 1.

    `runs[method]` is one curve per seed, of any lengths. The band is one sample standard deviation to either side,
    where two seeds or more have a number; faint lines are the seeds. `references` are dashed lines, name to value.
    """
    figure = Figure(figsize=(6.8, 4.9), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=ylabel)
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    for (method, curves), shade in zip(runs.items(), cycle(METHOD_COLOURS), strict=False):
        _draw_method(axes, method, curves, shade)
    for (name, value), style in zip((references or {}).items(), cycle(("--", ":", "-.")), strict=False):
        axes.axhline(value, color="#777777", ls=style, lw=1, zorder=1, label=name)
    _mark_epochs(axes, range(1, 1 + max((len(curve) for curves in runs.values() for curve in curves), default=0)), 10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_method(axes: Axes, method: str, curves: Sequence[Curve], shade: str) -> None:
    table = np.full((len(curves), max(map(len, curves), default=0)), math.nan)
    for seed, curve in enumerate(curves):
        table[seed, : len(curve)] = floats(curve)
    epochs = np.arange(1, table.shape[1] + 1)
    seen = np.ma.masked_invalid(table)
    mean, spread = (np.ma.filled(part, math.nan) for part in (seen.mean(axis=0), seen.std(axis=0, ddof=1)))
    marker = "." if len(epochs) == 1 else ""
    for row in table:
        axes.plot(epochs, row, color=shade, lw=0.6, alpha=0.35, marker=marker)
    axes.fill_between(epochs, mean - spread, mean + spread, color=shade, alpha=0.15, lw=0)
    axes.plot(epochs, mean, color=shade, lw=2, marker=marker, label=method)


_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}  # a legend beneath its axes


@mpl.rc_context(STYLE)
def draw_diagnostics(rows: Rows, learned: Collection[str]) -> Figure:
    """Draw the gradient diagnostics of a search over its epochs: correlations on the left, operators on the right.

    `rows[i]["diagnostics"]` is what `GradientMonitor.means` returned; operations in `learned` have weights.
    """
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_correlations(left, epochs, [row["diagnostics"] for row in rows])
    _draw_operators(right, epochs, [row["diagnostics"] for row in rows], learned)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.axhline(0, color="#b5b5b5", lw=0.8, zorder=0)
        _mark_epochs(axes, epochs, 10)
    return figure


def _draw_correlations(axes: Axes, epochs: Sequence[int], found: Sequence[Mapping[str, float]]) -> None:
    axes.set_title("gradient on alpha's batch · gradient on the weights' batch")
    axes.plot(
        epochs, floats(row.get("correlation") for row in found), color=METHOD_COLOURS[0], label="inner product (left)"
    )
    axes.set_ylabel("inner product")
    cosine = axes.twinx()
    cosine.spines["right"].set_visible(True)
    lag = floats(row.get("correlation_lag1") for row in found)
    cosine.plot(epochs, lag, color=METHOD_COLOURS[1], label="cosine with the previous step (right)")
    cosine.set(ylabel="cosine", ylim=(-1, 1))
    handles = [*axes.get_lines(), *cosine.get_lines()]
    axes.legend(handles=[line for line in handles if not str(line.get_label()).startswith("_")], **_BELOW)


def _draw_operators(
    axes: Axes, epochs: Sequence[int], found: Sequence[Mapping[str, float]], learned: Collection[str]
) -> None:
    axes.set_title("gradient of the op weights, last cell (lower is preferred)")
    # An epoch shorter than the steps between two measurements may have none: the first row is not always complete.
    names = dict.fromkeys(name for row in found for name in row if name.startswith("gradient of "))
    ops = [name.removeprefix("gradient of ") for name in names]
    table = {op: floats(row.get(f"gradient of {op}") for row in found) for op in ops}
    for op, values in table.items():
        axes.plot(epochs, values, color=colour(op), lw=0.9, label=op)
    for label, group, style in (
        ("mean, with weights", [op for op in ops if op in learned], "-"),
        ("mean, without", [op for op in ops if op not in learned], "--"),
    ):
        if group:
            axes.plot(
                epochs, np.mean([table[op] for op in group], axis=0), color="#222222", lw=2, ls=style, label=label
            )
    if ops:
        axes.legend(ncols=3, **_BELOW)
