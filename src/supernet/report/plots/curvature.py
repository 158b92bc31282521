"""Figure of the curvature along alpha over the epochs of a search, and of how decided every edge is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supernet.report.plots.panels import floats
from supernet.report.plots.style import DARK, GREY, METHOD_COLOURS, STYLE, mark_epochs

_PANELS = {"entropy": "entropy of the op weights (nats)", "margin": "best minus second-best op weight"}


@mpl.rc_context(STYLE)
def draw_curvature(rows: Sequence[Mapping[str, Any]], grown: tuple[int, int] | None = None) -> Figure:
    """Draw the largest eigenvalue along alpha, and entropy and margin of every edge, over the epochs of a search.

    `rows[i]["diagnostics"]` is what `HessianMonitor.end_epoch` returned. `grown` has two epochs, counted from 1: when
    the eigenvalue had grown by R-DARTS' criterion, and the one to go back to.
    """
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10.4, 3.4), layout="constrained")
    left, *panels = figure.subplots(1, 3)
    _draw_eigenvalues(left, rows, grown)
    for axes, (name, title) in zip(panels, _PANELS.items(), strict=True):
        axes.set_title(title)
        for kind in rows[0]["diagnostics"][name] if rows else ():
            for edge in range(len(rows[0]["diagnostics"][name][kind])):
                label = "an edge" if len(axes.lines) == 0 else None
                axes.plot(
                    epochs, [row["diagnostics"][name][kind][edge] for row in rows], color=GREY, lw=0.9, label=label
                )
        axes.plot(
            epochs, [_mean(row["diagnostics"][name]) for row in rows], color=DARK, lw=2, label="mean of all edges"
        )
        highest = axes.dataLim.ymax if rows else 0.0
        axes.set_ylim(0, 1.1 * highest or 1)  # equal op weights have margins of 0
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    for axes in (left, *panels):
        axes.set_xlabel("epoch")
        mark_epochs(axes, epochs, 6)
    return figure


def _draw_eigenvalues(axes: Axes, rows: Sequence[Mapping[str, Any]], grown: tuple[int, int] | None) -> None:
    fixed = ", ".join(rows[0]["diagnostics"].get("fixed", ())) if rows else ""
    axes.set_title("largest eigenvalue along alpha" + (f" ({fixed} fixed)" if fixed else ""))
    measured = [row for row in rows if "eigenvalue" in row["diagnostics"]]
    values = floats(row["diagnostics"]["eigenvalue"] for row in measured)
    axes.plot([row["epoch"] for row in measured], values, color=METHOD_COLOURS[0], marker=".", lw=1.4)
    for epoch, label, style in zip(grown or (), ("has grown", "before it grew"), ("-", "--"), strict=False):
        axes.axvline(epoch, color=DARK, lw=0.9, ls=style, label=label)
    if grown:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _mean(values: Mapping[str, Sequence[float]]) -> float:
    edges = [value for kind in values.values() for value in kind]
    return sum(edges) / len(edges)
