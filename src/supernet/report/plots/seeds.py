"""What several searches have found, each with some seeds: accuracies as strips and against costs, and agreement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from supernet.report.plots.panels import add_legend, distinct_styles
from supernet.report.plots.style import DARK, GREY, METHOD_COLOURS, STYLE, colour, text_width

_HIGH = 0.6  # of a row of a strip that equal values may take
_COLLAPSED = "#d00000"
_COLUMNS = 3  # panels side by side
_LOOKS = list(product("osD^v", METHOD_COLOURS))  # of rings: first all colours, then another shape
_MEAN, _MARKED = ("P", 8), ("*", 13)  # marker and size

Counts = Mapping[str, Mapping[str, int]]  # per edge: an operation, and how many chose it


@mpl.rc_context(STYLE)
def draw_strips(
    rows: Mapping[str, Sequence[float]], xlabel: str, collapsed: Mapping[str, Sequence[bool]] = {}
) -> Figure:
    """Draw a row per label, with a point for each seed and a bar at their mean; equal points stand one upon another.

    The first label is on top; NaN is left out. Where `collapsed`, which is as long as the row, is true, the point is a
    red cross.
    """
    width = 4.2 + max(map(text_width, rows), default=0.0)
    figure = Figure(figsize=(width, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    crosses = False
    for row, (label, values) in enumerate(rows.items()):
        marks = collapsed.get(label) or [False] * len(values)
        points = [(x, row + up, mark) for x, up, mark in _stacked(values, marks)]
        good, bad = ([point[:2] for point in points if point[2] == mark] for mark in (False, True))
        axes.plot(*_columns(good), "o", ms=5.5, mfc="none", mec=METHOD_COLOURS[0], mew=1.2, zorder=2)
        axes.plot(*_columns(bad), "x", ms=5, mec=_COLLAPSED, mew=1.2, zorder=2)
        crosses |= bool(bad)
        if points:
            axes.plot([np.mean([point[0] for point in points])], [row], "|", ms=13, mew=1.6, color=DARK, zorder=3)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.grid(axis="x", lw=0.4)
    keys = [Line2D([], [], color=METHOD_COLOURS[0], marker="o", mfc="none", ls="", label="one seed")]
    keys += [Line2D([], [], color=_COLLAPSED, marker="x", ls="", label="one seed, collapsed")] * crosses
    add_legend(figure, [*keys, Line2D([], [], color=DARK, marker="|", ms=10, mew=1.6, ls="", label="mean")])
    return figure


def _stacked(values: Sequence[float], marks: Sequence[bool]) -> Iterator[tuple[float, float, bool]]:
    """Yield the values that are numbers, each with its place in its row, where equal ones share the height."""
    numbers = [(value, mark) for value, mark in zip(values, marks, strict=True) if math.isfinite(value)]
    count, seen = Counter(value for value, _ in numbers), Counter[float]()
    for value, mark in numbers:
        step = min(0.26, _HIGH / count[value])
        yield value, (seen[value] - (count[value] - 1) / 2) * step, mark
        seen[value] += 1


def _columns(points: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


@mpl.rc_context(STYLE)
def draw_costs(
    searches: Mapping[str, Sequence[tuple[float, ...]]],
    costs: Sequence[str],
    ylabel: str = "accuracy (%)",
    marked: str = "",
) -> Figure:
    """Draw accuracy against several costs, a panel for each: a ring per search, and a cross at the mean of a label.

    `searches[label]` has (accuracy, cost, cost, ...) of each search; `costs` are the names of its costs. The `marked`
    label has a star at its mean, with a line at its height.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for number, (name, axes) in enumerate(zip(costs, panels, strict=True), 1):
        axes.set(xlabel=name, ylabel=ylabel if number == 1 else "")
        axes.grid(color="#e6e6e6", lw=0.6)
        for (label, found), (ring, shade) in zip(searches.items(), cycle(_LOOKS), strict=False):
            x, y = [one[number] for one in found], [one[0] for one in found]
            axes.plot(x, y, ring, ms=5.5, mfc="none", mec=shade, mew=1.2, label=label)
            if found:
                mean, size = _MARKED if label == marked else _MEAN
                axes.plot([np.mean(x)], [np.mean(y)], mean, ms=size, color=shade, mec="white", mew=0.8, zorder=3)
            if found and label == marked:
                axes.axhline(float(np.mean(y)), color=shade, lw=0.8, ls="--", zorder=1)
        axes.set_xlim(0, 1.06 * max((one[number] for found in searches.values() for one in found), default=1) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    keys = panels[0].get_legend_handles_labels()[0]
    means = {"mean of the seeds": _MEAN} | ({f"mean of {marked}": _MARKED} if marked else {})
    keys += [Line2D([], [], color=GREY, marker=m, ms=size, ls="", label=label) for label, (m, size) in means.items()]
    add_legend(figure, keys)
    return figure


@mpl.rc_context(STYLE)
def draw_agreement(counts: Mapping[str, Counts], absent: str = "") -> Figure:
    """Draw how many seeds have chosen which operation: a panel per label, a row per edge.

    All labels have the same edges, the first of which is on top. The operation `absent`, which is white, stands for
    none at all: for an edge that was left out.
    """
    edges = list(next(iter(counts.values()), {}))
    columns = max(1, min(_COLUMNS, len(counts)))
    rows = max(1, math.ceil(len(counts) / columns))
    width = max([2.1, *(text_width(label) + 0.2 for label in counts)])
    side = max(map(text_width, edges), default=0.0) + 0.3
    figure = Figure((side + columns * width, rows * (0.75 + 0.2 * len(edges))), layout="constrained")
    ops = dict.fromkeys(op for label in counts.values() for found in label.values() for op in found)
    hatches = distinct_styles((op for op in ops if op != absent), ("", "////", "....", "xxxx"))
    looks: dict[str, dict[str, Any]] = {
        op: {"facecolor": colour(op), "hatch": hatch, "edgecolor": DARK if hatch else GREY, "linewidth": 0.5}
        for op, hatch in hatches.items()
    }
    if absent in ops:
        looks[absent] = {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.5}
    axes: Axes | None = None
    for number, (label, found) in enumerate(counts.items()):
        axes = figure.add_subplot(rows, columns, number + 1, sharex=axes, sharey=axes)
        _draw_counts(axes, found, looks)
        axes.set(title=label, xlabel="seeds", ylim=(max(len(edges), 1) - 0.5, -0.5))
        axes.set_yticks(range(len(edges)), edges)
        axes.tick_params(left=False, labelleft=number % columns == 0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    add_legend(figure, [Patch(label=op, **look) for op, look in looks.items()])
    return figure


def _draw_counts(axes: Axes, found: Counts, looks: Mapping[str, Mapping[str, Any]]) -> None:
    rows, start = range(len(found)), np.zeros(len(found))
    for op, look in looks.items():
        wide = np.array([edge.get(op, 0) for edge in found.values()])
        axes.barh(rows, wide, left=start, height=0.75, **look)
        start = start + wide
