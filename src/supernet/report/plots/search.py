"""Figures of one search over its epochs: the scores of the operations on every edge, and the gradient diagnostics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from supernet.report.plots.panels import (
    Edges,
    Panel,
    add_legend,
    distinct_styles,
    draw_place,
    edge_panels,
    floats,
    operations,
)
from supernet.report.plots.style import DARK, GREY, METHOD_COLOURS, STYLE, colour, mark_epochs
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables.entry import TITLES

Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch

_RING: dict[str, Any] = {"marker": "o", "ms": 5, "mfc": "white", "mec": DARK, "mew": 1.2}
_TITLES = {
    f"{key}_{split}": f"{word} accuracy of the derived architecture on {data} (table)"
    for key, data in TITLES.items()
    for split, word in (("valid", "validation"), ("test", "test"))
}

_EDGE: dict[str, Any] = {"color": DARK, "lw": 1.2, "ls": (0, (1, 1)), "label": "weight of the edge"}
_STYLES = ("-", "--", ":", "-.")
_KEPT: dict[str, Any] = {"color": DARK, "lw": 0.8, "ls": (0, (6, 3))}
_FAR = 3.0  # times the span of all scores: a threshold further from them is out of view, as they would be flat


def thresholds(config: Mapping[str, Any], cells: Mapping[str, Cell]) -> dict[str, float]:
    """Return the op score from which on an edge is kept, of each kind of cell for which a run's selector has one."""
    if config["selector"] != "threshold":
        return {}
    return {kind: config["select"]["threshold"] for kind, cell in cells.items() if cell.varies}


@mpl.rc_context(STYLE)
def draw_search(
    rows: Rows,
    edges: Edges,
    field: str | None = None,
    genotype: Genotype | None = None,
    kept_above: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the scores of the operations over the epochs: a panel per edge, a line per candidate operation.

    `rows[i]["op_scores"][kind][edge]` has one score per operation of `edges[kind][edge]`, followed by padding. If any
    row has `rows[i]["table"][field]` ("c10_test"), the accuracy (%) of the derived architecture in a table, a wide
    panel on top shows that accuracy. Kinds of cell with a single edge or a chain of them share their rows. A dotted
    line follows each epoch after which the search went back (`rows[i]["back_to"]`). Where edges have weights as a whole
    (`rows[i]["edge_weights"][kind][edge]`), each panel has a line for that of its edge. The operations of `genotype`
    are thick lines that end in a ring; the titles of edges that it leaves out are in brackets. The small cell beside
    a title shows where the edge is. A dashed line is at `kept_above[kind]`, the op score from which on edges are kept,
    unless that is so far from all scores that they would be flat; then only the legend tells it.
    """
    accuracies = floats((row.get("table") or {}).get(field) for row in rows)
    in_table = bool(np.isfinite(accuracies).any())
    ops = operations(edges)
    styles = distinct_styles(ops, _STYLES)
    figure, panels = edge_panels(edges, "epoch", "op score", wide_panel=in_table)
    if in_table:
        _draw_accuracies(figure.axes[0], [row["epoch"] for row in rows], accuracies, str(field))
    for panel, axes in panels:
        draw_place(axes, edges[panel.kind], panel.edge)
    chosen = {} if genotype is None else _chosen(genotype, panels)
    kept_above = kept_above or {}
    _draw_scores(panels, rows, styles, chosen, kept_above)
    keys = [Line2D([], [], color=colour(op), lw=2, ls=styles[op], label=op) for op in ops]
    keys += [Line2D([], [], color=DARK, lw=2.4, label="chosen", **_RING)] * bool(chosen)
    keys += [Line2D([], [], ls="", label="( ): left out")] * (0 < len(chosen) < len(panels))
    keys += [Line2D([], [], color=GREY, lw=0.8, ls=":", label="went back")] * any("back_to" in row for row in rows)
    keys += [Line2D([], [], **_EDGE)] * any("edge_weights" in row for row in rows)
    for least in {*kept_above.values()}:
        low, high = panels[0][1].get_ylim()
        hidden = "" if low < least < high else ", out of view"
        keys.append(Line2D([], [], label=f"kept from {least:g} on{hidden}", **_KEPT))
    add_legend(figure, keys)
    return figure


def _chosen(genotype: Genotype, panels: Sequence[tuple[Panel, Axes]]) -> dict[tuple[str, int], str]:
    """Return the operation that an architecture has on each edge, and title the edges that it leaves out."""
    ops = {(kind, c.target, c.source, c.branch): c.op for kind, cell in genotype.cells for c in cell}
    chosen = {}
    for panel, axes in panels:
        node, _, branch = str(panel.target).partition(".")
        op = ops.get((panel.kind, int(node), panel.source, int(branch or 0)))
        if op is not None:
            chosen[panel.kind, panel.edge] = op
        else:
            axes.title.set(text=f"({panel.title})", color="#888888")
    return chosen


def _draw_accuracies(axes: Axes, epochs: Sequence[int], accuracies: Any, field: str) -> None:
    title = _TITLES.get(field, f"{field} of the derived architecture (table)")
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title=title)
    axes.plot(epochs, accuracies, color=DARK, marker=".", lw=1.4)
    mark_epochs(axes, epochs, 10)


def _draw_scores(
    panels: Sequence[tuple[Panel, Axes]],
    rows: Rows,
    styles: Mapping[str, str],
    chosen: Mapping[tuple[str, int], str],
    kept_above: Mapping[str, float],
) -> None:
    epochs = [row["epoch"] for row in rows]
    drawn = [np.zeros(0)]
    for panel, axes in panels:
        kind, edge, ops = panel.kind, panel.edge, panel.ops
        for column, op in enumerate(ops):
            scores = floats(row["op_scores"][kind][edge][column] for row in rows)
            width = 1.6 if not chosen else 2.4 if chosen.get((kind, edge)) == op else 1.0
            line = axes.plot(epochs, scores, color=colour(op), lw=width, ls=styles[op], label=op)[0]
            if chosen.get((kind, edge)) == op:
                line.set(markevery=[-1], zorder=3, **_RING)
            if len(rows) == 1:  # points side by side: after one epoch all scores are still much the same
                line.set(
                    marker="." if line.get_marker() == "None" else "o",
                    xdata=[epochs[0] + 0.6 * ((column + 0.5) / len(ops) - 0.5)],
                )
            drawn.append(scores[np.isfinite(scores)])
        if any("edge_weights" in row for row in rows):
            weights = floats(row["edge_weights"][kind][edge] if "edge_weights" in row else None for row in rows)
            axes.plot(epochs, weights, marker="." if len(rows) == 1 else "", **_EDGE)
            drawn.append(weights[np.isfinite(weights)])
        if kind in kept_above:
            axes.axhline(kept_above[kind], zorder=0, **_KEPT)
        for epoch in (row["epoch"] for row in rows if "back_to" in row):
            axes.axvline(epoch + 0.5, color=GREY, lw=0.8, ls=":", zorder=0)
    mark_epochs(panels[0][1], epochs, 4)  # the other panels share its axes
    values = np.concatenate(drawn)
    if len(values) and panels:
        low, high = values.min(), values.max()
        near = [value for value in kept_above.values() if abs(value - (low + high) / 2) < _FAR * (high - low)]
        low, high = min([low, *near]), max([high, *near])
        margin = 0.06 * (high - low) or 0.05
        panels[0][1].set_ylim(low - margin, high + margin)


@mpl.rc_context(STYLE)
def draw_diagnostics(rows: Rows, learned: Collection[str]) -> Figure:
    """Draw the gradient diagnostics of a search over its epochs: inner product, cosine, and op weights on the right.

    `rows[i]["diagnostics"]` is what `GradientMonitor.end_epoch` returned; operations in `learned` have weights.
    """
    epochs, diagnostics = [row["epoch"] for row in rows], [row["diagnostics"] for row in rows]
    figure = Figure(figsize=(11.4, 4.2), layout="constrained")
    product, cosine, right = panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
    title = "gradient on alpha's batch · on the weights'"
    _draw_correlation(product, epochs, diagnostics, "correlation", title, "inner product")
    _draw_correlation(
        cosine, epochs, diagnostics, "correlation_lag1", "the same gradient, with the last step's", "cosine"
    )
    cosine.set_ylim(-1, 1)
    _draw_gradients(right, epochs, diagnostics, learned)
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.axhline(0, color=GREY, lw=0.8, zorder=0)
        mark_epochs(axes, epochs, 6)
    return figure


def _draw_correlation(
    axes: Axes, epochs: Sequence[int], diagnostics: Sequence[Mapping[str, float]], name: str, title: str, unit: str
) -> None:
    axes.plot(epochs, floats(row.get(name) for row in diagnostics), color=METHOD_COLOURS[0], marker=".", lw=1.4)
    axes.set(title=title, ylabel=unit)


def _draw_gradients(
    axes: Axes, epochs: Sequence[int], diagnostics: Sequence[Mapping[str, float]], learned: Collection[str]
) -> None:
    axes.set(title="gradient of the op weights, last cell (lower is preferred)", ylabel="mean over the epoch")
    # An epoch shorter than the steps between two measurements may have none, so any row may lack values.
    names = dict.fromkeys(name for row in diagnostics for name in row if name.startswith("gradient of "))
    gradients = {name.removeprefix("gradient of "): floats(row.get(name) for row in diagnostics) for name in names}
    styles = distinct_styles(gradients, _STYLES)
    for op, values in gradients.items():
        axes.plot(epochs, values, color=colour(op), lw=0.9, ls=styles[op], label=op)
    for label, style, has_weights in (("mean, with weights", "-", True), ("mean, without", "--", False)):
        if group := [values for op, values in gradients.items() if (op in learned) == has_weights]:
            axes.plot(epochs, np.mean(group, axis=0), color=DARK, lw=2, ls=style, label=label)
    if gradients:
        _add_legend_below(axes, ncols=3)


def _add_legend_below(axes: Axes, **options: Any) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), **options)
