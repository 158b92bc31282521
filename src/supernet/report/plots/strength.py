"""The picture of magnitude against strength: whether the operation with the largest weight is the best one to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

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
from supernet.report.plots.style import STYLE, colour

Numbers = Mapping[str, Sequence[Sequence[float | None]]]  # per kind, a row per edge, a column per candidate
Bools = NDArray[np.bool_]

_MARKERS = ("o", "s", "^", "D")  # of operations that have the same colour
_DARK, _LINE = "#222222", "#777777"
_LARGEST, _HIGHEST = "largest weight", "highest accuracy"
_RINGS = {_LARGEST: ("s", 11.0), _HIGHEST: ("o", 9.0)}  # marker and its size in points


@mpl.rc_context(STYLE)
def draw_strength(
    weights: Numbers,
    accuracies: Numbers,
    edges: Edges,
    supernet: float | None = None,
    correlation: float | None = None,
) -> Figure:
    """Draw the accuracy that is left when an edge has only one operation, against that operation's weight.

    A panel per edge with a point per candidate, as Wang et al. (ICLR 2021, "Rethinking Architecture Selection in
    Differentiable NAS") compare magnitude with strength. A square is around the largest weight, a circle around the
    highest accuracy; where they are around different points, a line joins them.

    `weights[kind][edge]` has the weight of each op of `edges[kind][edge]`, `accuracies` its accuracy (%) where it was
    measured; what follows is padding. `supernet` is the accuracy (%) with all operations, a line. `correlation`, of
    the ranks of both, is written above. Kinds of cell with a single edge, as in a macro space, share one grid.
    """
    ops = operations(edges)
    markers, grids = told_apart(ops, _MARKERS), blocks(edges)
    keys = _keys(markers, supernet is not None)
    points = {
        (panel.kind, panel.edge): _measured(weights, accuracies, panel) for panel in (p for grid in grids for p in grid)
    }
    title = _title([_marked(x, y) for x, y in points.values()], correlation)
    figure, grid = page(grids, [str(key.get_label()) for key in keys], title=title)
    for panel, axes in edge_panels(figure, grid, grids, ("op weight", "accuracy (%)")):
        if supernet is not None:
            axes.axhline(supernet, color=_LINE, lw=1, ls="--", zorder=1)
        _draw(axes, panel.ops, *points[panel.kind, panel.edge], markers)
    add_legend(figure, keys)
    return figure


def _measured(weights: Numbers, accuracies: Numbers, panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights and the accuracies of a panel's operations, both NaN where one of them is."""
    rows = (numbers[panel.kind][panel.edge][: len(panel.ops)] for numbers in (weights, accuracies))
    x, y = (floats(row) for row in rows)
    known = np.isfinite(x) & np.isfinite(y)
    return np.where(known, x, math.nan), np.where(known, y, math.nan)


def _marked(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Bools, Bools] | None:
    """Return which operations have the largest weight and which the highest accuracy; None where none is measured."""
    if np.isnan(x).all():
        return None
    return x == np.nanmax(x), y == np.nanmax(y)


def _title(marked: Sequence[tuple[Bools, Bools] | None], correlation: float | None) -> str:
    found = [both for both in marked if both is not None]
    agree = sum(bool((largest & highest).any()) for largest, highest in found)
    edges = f"{len(found)} edge{'s' * (len(found) != 1)}"
    ranks = "" if correlation is None or math.isnan(correlation) else f"; rank correlation {correlation:.2f}"
    return f"the largest weight has the highest accuracy on {agree} of {edges}{ranks}"


def _draw(
    axes: Axes, ops: Sequence[str], x: NDArray[np.float64], y: NDArray[np.float64], markers: Mapping[str, str]
) -> None:
    if marked := _marked(x, y):
        largest, highest = marked
        if not (largest & highest).any():
            ends = [largest.argmax(), highest.argmax()]
            axes.plot(x[ends], y[ends], color=_DARK, lw=0.8, alpha=0.6, zorder=2)
        for (marker, size), there in zip(_RINGS.values(), marked, strict=True):
            axes.plot(x[there], y[there], marker, ms=size, mfc="none", mec=_DARK, mew=1, zorder=3)
    for op, weight, accuracy in zip(ops, x, y, strict=True):
        axes.plot(weight, accuracy, markers[op], ms=5, mfc=colour(op), mec="white", mew=0.5, zorder=4, label=op)
    axes.margins(0.12)


def _keys(markers: Mapping[str, str], line: bool) -> list[Line2D]:
    points = [Line2D([], [], color=colour(op), marker=marker, ls="", label=op) for op, marker in markers.items()]
    rings = [
        Line2D([], [], color=_DARK, marker=marker, ms=size, mfc="none", ls="", label=label)
        for label, (marker, size) in _RINGS.items()
    ]
    supernet = Line2D([], [], color=_LINE, lw=1, ls="--", label="all operations")
    return [*points, *rings, *[supernet] * line]
