"""Magnitude against strength: whether the operation with the largest op weight is also the best one to keep."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from supernet.models.rank_metrics import same_best
from supernet.report.plots.panels import Edges, add_legend, distinct_styles, edge_panels, floats, operations
from supernet.report.plots.style import DARK, STYLE, colour

Numbers = Mapping[str, Sequence[Sequence[float | None]]]  # per kind, a row per edge, a column per candidate
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LINE = "#777777"
_RINGS = {"largest weight": ("s", 11.0), "highest accuracy": ("o", 9.0)}  # marker and its size in points


@mpl.rc_context(STYLE)
def draw_strength(
    weights: Numbers,
    accuracies: Numbers,
    edges: Edges,
    supernet: float | None = None,
    correlation: float | None = None,
    choices: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> Figure:
    """Draw the accuracy that is left when an edge keeps only one operation, against that operation's weight.

    A panel per edge with a point per candidate, as Wang et al. (ICLR 2021, "Rethinking Architecture Selection in
    Differentiable NAS") compare magnitude with strength. A square surrounds the largest weight, a circle the highest
    accuracy; a line joins the two where they surround different points. `choices[kind][edge]` are the columns that this
    compares, by default all; an edge with less than two has no choice, and does not count.

    `weights[kind][edge]` has the weight of each operation of `edges[kind][edge]`, `accuracies[kind][edge]` its accuracy
    (%), None or NaN where it was not measured; both are followed by padding. `supernet` is the accuracy (%) with all
    operations, drawn as a line. `correlation`, of the ranks of both, is written in the title. Kinds of cell with a
    single edge or a chain of them, as in a macro space, share their rows.
    """
    points = {
        (kind, edge): _measured(weights[kind][edge], accuracies[kind][edge], len(ops))
        for kind, cell in edges.items()
        for edge, (*_, ops) in enumerate(cell)
    }
    compared = {
        (kind, edge): _of(range(len(x)) if choices is None else choices[kind][edge], x, y)
        for (kind, edge), (x, y) in points.items()
    }
    markers = distinct_styles(operations(edges), ("o", "s", "^", "D"))
    title = _title(compared.values(), correlation)
    figure, panels = edge_panels(edges, "op weight", "accuracy (%)", title=title)
    for panel, axes in panels:
        kind, edge, ops = panel.kind, panel.edge, panel.ops
        if supernet is not None:
            axes.axhline(supernet, color=_LINE, lw=1, ls="--", zorder=1)
        _draw(axes, ops, *points[kind, edge], markers)
        _mark(axes, *compared[kind, edge])
        axes.margins(0.12)
    add_legend(figure, _keys(markers, line=supernet is not None))
    return figure


def _measured(weights: Sequence[float | None], accuracies: Sequence[float | None], count: int) -> tuple[Floats, Floats]:
    """Return the weights and accuracies of the first `count` operations, both NaN where one of them is not finite."""
    x, y = floats(weights[:count]), floats(accuracies[:count])
    finite = np.isfinite(x) & np.isfinite(y)
    return np.where(finite, x, math.nan), np.where(finite, y, math.nan)


def _largest(values: Floats) -> Bools:
    """Return which of the values are the largest one; none if all are NaN."""
    return np.equal(values, np.max(values, initial=-math.inf, where=np.isfinite(values)))


def _title(points: Iterable[tuple[Floats, Floats]], correlation: float | None) -> str:
    there = [(x[np.isfinite(x)], y[np.isfinite(x)]) for x, y in points]
    agree = [same_best(x, y) for x, y in there if len(x)]
    edges = f"{len(agree)} edge{'s' * (len(agree) != 1)}"
    ranks = "" if correlation is None or math.isnan(correlation) else f"; rank correlation {correlation:.2f}"
    return f"the largest weight has the highest accuracy on {sum(agree)} of {edges}{ranks}"


def _of(columns: Collection[int], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return weights and accuracies with NaN in all other columns, and in all where there are less than two."""
    there = np.isin(np.arange(len(x)), list(columns)) & (len(columns) > 1)
    return np.where(there, x, math.nan), np.where(there, y, math.nan)


def _mark(axes: Axes, x: Floats, y: Floats) -> None:
    largest, highest = marked = _largest(x), _largest(y)
    if largest.any() and not (largest & highest).any():
        ends = [largest.argmax(), highest.argmax()]
        axes.plot(x[ends], y[ends], color=DARK, lw=0.8, alpha=0.6, zorder=2)
    for (marker, size), there in zip(_RINGS.values(), marked, strict=True):
        axes.plot(x[there], y[there], marker, ms=size, mfc="none", mec=DARK, mew=1, zorder=3)


def _draw(axes: Axes, ops: Sequence[str], x: Floats, y: Floats, markers: Mapping[str, str]) -> None:
    for op, weight, accuracy in zip(ops, x, y, strict=True):
        axes.plot(weight, accuracy, markers[op], ms=5, mfc=colour(op), mec="white", mew=0.5, zorder=4, label=op)


def _keys(markers: Mapping[str, str], *, line: bool) -> list[Line2D]:
    points = [Line2D([], [], color=colour(op), marker=marker, ls="", label=op) for op, marker in markers.items()]
    rings = [
        Line2D([], [], color=DARK, marker=marker, ms=size, mfc="none", ls="", label=label)
        for label, (marker, size) in _RINGS.items()
    ]
    supernet = Line2D([], [], color=_LINE, lw=1, ls="--", label="all operations")
    return [*points, *rings, *[supernet] * line]
