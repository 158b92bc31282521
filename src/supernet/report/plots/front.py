"""The architectures of one search along their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from supernet.report.plots.panels import add_legend, label_costs
from supernet.report.plots.style import METHOD_COLOURS, STYLE

_MARKERS = ("o", "s", "D")


@mpl.rc_context(STYLE)
def draw_points(series: Mapping[str, Sequence[tuple[float, float, bool]]], xlabel: str) -> Figure:
    """Draw architectures at (cost, accuracy in %), with a line for each way to measure their accuracy.

    Costs must be above 0 and are on a logarithmic axis. A point whose third entry is True is dominated: another one
    costs no more and is at least as accurate. It is hollow, and no line leads through it.
    """
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel="accuracy (%)", xscale="log")
    for (label, points), marker, colour in zip(series.items(), _MARKERS, METHOD_COLOURS, strict=False):
        best = sorted((cost, accuracy) for cost, accuracy, dominated in points if not dominated)
        axes.plot(*zip(*best, strict=True), color=colour, marker=marker, ms=6, lw=1.2, label=label)
        others = [(cost, accuracy) for cost, accuracy, dominated in points if dominated]
        if others:
            axes.plot(*zip(*others, strict=True), marker, color=colour, ms=6, mfc="none", label=f"{label}: dominated")
    label_costs(axes, _short)
    add_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _short(value: float, _: object = None) -> str:
    """Return a cost with at most a few digits, as 200k or 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
