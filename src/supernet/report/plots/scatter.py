"""Architectures as points: accuracy against cost, one-shot against true accuracy, and how well supernets rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from supernet.report.plots.panels import add_legend, far_below, label_costs
from supernet.report.plots.seeds import draw_strips
from supernet.report.plots.style import DARK, GREY, METHOD_COLOURS, STYLE

_MARKERS = ("o", "s", "^", "D", "v")
_SIZES_OF_RINGS = 4
_POOR = 0.1  # the share of the table that may lie below the picture
_SIZES = LinearSegmentedColormap.from_list("size", ["#56b4e9", "#0072b2", DARK])
_LINE = "#777777"
Points = NDArray[np.float64]  # (points, 2): cost, accuracy


@mpl.rc_context(STYLE)
def draw_front(
    points: Mapping[str, Sequence[tuple[float, float]]],
    table: ArrayLike,
    xlabel: str = "latency (ms)",
    ylabel: str = "test accuracy (%)",
    *,
    log: bool = False,
) -> Figure:
    """Draw the architectures that methods found among all of a table, each at (cost, accuracy in %).

    `table` has shape (architectures, 2), NaN where a value was not measured. The line is the Pareto front: the highest
    accuracy at no more than a cost. `points[label]` are the architectures that one method found, one per seed. With
    `log` the costs, which must be above 0, are on a logarithmic axis. The worst tenth of the table, which would take
    most of the picture, is left out up to the least accuracy in `points`.
    """
    found = {label: _finite(some) for label, some in points.items()}
    shown = _without_worst(_finite(table), [accuracy for some in found.values() for accuracy in some[:, 1]])
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, xscale="log" if log else "linear")
    axes.scatter(shown[:, 0], shown[:, 1], 2, color=GREY, alpha=0.5, lw=0, rasterized=True)
    hidden = len(_finite(table)) - len(shown)
    less = f" but the {hidden} least accurate" if hidden else ""
    axes.plot([], [], "o", color=GREY, ms=3, label=f"all architectures{less}")
    axes.plot(*_front(shown).T, color=DARK, lw=1.2, drawstyle="steps-post", label="best for the cost")
    for number, (label, some) in enumerate(found.items()):
        marker, edge = _MARKERS[number % len(_MARKERS)], METHOD_COLOURS[number % len(METHOD_COLOURS)]
        size = 10.0 - 1.5 * (number % _SIZES_OF_RINGS)  # hollow and of several sizes: no point hides another
        axes.plot(*some.T, marker, ms=size, mfc="none", mec=edge, mew=1.4, zorder=3, label=label)
    if log:
        label_costs(axes, "{x:g}")
    add_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _finite(points: ArrayLike) -> Points:
    """Return the points without a NaN, as (points, 2)."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return array[np.isfinite(array).all(1)]


def _without_worst(table: Points, accuracies: Sequence[float]) -> Points:
    """Return the points of the table from its worst tenth on, or from the least of `accuracies` if that is lower."""
    if not len(table):
        return table
    return table[table[:, 1] >= min([np.quantile(table[:, 1], _POOR), *accuracies])]


def _front(points: Points) -> Points:
    """Return the corners of the Pareto front, the cheapest first, and its end at the highest cost."""
    order = points[np.lexsort((-points[:, 1], points[:, 0]))]
    best = np.maximum.accumulate(order[:, 1])
    better = np.diff(best, prepend=-np.inf) > 0
    return np.concatenate([order[better], np.stack([order[-1:, 0], best[-1:]], 1)])


@mpl.rc_context(STYLE)
def draw_ranking(
    one_shot: Sequence[float],
    truth: Sequence[float],
    params: Sequence[float],
    tau: float | None = None,
    best_half: float | None = None,
    field: str = "true accuracy",
) -> Figure:
    """Draw the one-shot accuracy (%) of each architecture against its true accuracy (%).

    The more parameters (`params`) an architecture has, the darker its point. The truly best half is to the right of the
    line. Architectures far less accurate than all others are outside of the picture; the legend counts them. The title
    gives Kendall's `tau` over all architectures and among the `best_half`; None is printed as "none".
    `field` names the true accuracy.
    """
    whole, best = ("none" if value is None else f"{value:.2f}" for value in (tau, best_half))
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel=f"{field} (%)", ylabel="one-shot accuracy (%)")
    axes.set_title(f"Kendall's tau {whole}; {best} among the truly best half")
    if len(truth):
        axes.axvline(float(np.median(truth)), color=_LINE, lw=1, ls="--", zorder=1, label="median")
        _leave_out_far(axes, np.asarray(truth, np.float64), np.asarray(one_shot, np.float64))
    millions = np.asarray(params, dtype=np.float64) / 1e6
    points = axes.scatter(truth, one_shot, 18, c=millions, cmap=_SIZES, edgecolors="white", linewidths=0.3, zorder=2)
    figure.colorbar(points, label="parameters (millions)").outline.set(visible=False)
    add_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _leave_out_far(axes: Axes, truth: NDArray[np.float64], one_shot: NDArray[np.float64]) -> None:
    """End the picture before the points that are far less accurate than the others, and count these in the legend."""
    near = ~far_below(truth)
    if near.all():
        return
    for values, limit in ((truth[near], axes.set_xlim), (one_shot[near], axes.set_ylim)):
        margin = 0.05 * (values.max() - values.min()) or 0.5
        limit(values.min() - margin, values.max() + margin)
    axes.plot([], [], "<", color=_LINE, ms=5, label=f"far less accurate, not shown: {np.sum(~near)}")


@mpl.rc_context(STYLE)
def draw_taus(taus: Mapping[str, Sequence[float]], xlabel: str = "Kendall's tau") -> Figure:
    """Draw how well supernets rank: a row per label, with a point for each seed and a bar at their mean.

    The first label is on top; NaN is left out.
    """
    figure = draw_strips(taus, xlabel)
    figure.axes[0].axvline(0, color=_LINE, lw=0.8, zorder=1)
    return figure
