"""Plots: the cell an architecture is, how a search weighed its operations, how methods fare over the epochs.

Every function returns a `matplotlib.figure.Figure` of its own; pyplot and its global list of figures are never used.
Operations have one colour everywhere; those without weights are muted, so that a collapsed cell looks grey.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from supernet.errors import UserError
from supernet.genotype import Choice, Genotype

Edges = Mapping[str, Sequence[tuple[int, int, Sequence[str]]]]  # per kind, per edge: target, source, candidate ops
Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch
Curve = Sequence[float | None]  # one number per epoch; None and NaN are gaps
Floats = np.ndarray[Any, np.dtype[np.float64]]

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "supernet",
}

# Okabe and Ito's colour-blind-safe colours for operations with weights, muted tones for those without.
_COLOURS = {
    "none": "#b5b5b5",
    "skip_connect": "#5a5a5a",
    "avg_pool_3x3": "#b09a78",
    "max_pool_3x3": "#8f8fb3",
    "nor_conv_1x1": "#e69f00",
    "nor_conv_3x3": "#0072b2",
    "sep_conv_3x3": "#009e73",
    "sep_conv_5x5": "#d55e00",
    "dil_conv_3x3": "#cc79a7",
    "dil_conv_5x5": "#56b4e9",
    "noise": "#882255",
}
_OTHERS = ("#332288", "#999933", "#aa4499", "#117733", "#661100", "#6699cc", "#44aa99")
_METHODS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")


def colour(op: str) -> str:
    """Return the colour of operation `op`: the same in every figure and every process."""
    return _COLOURS.get(op) or _OTHERS[zlib.crc32(op.encode()) % len(_OTHERS)]


# --- one cell -------------------------------------------------------------------------------------------------------
# Nodes stand in columns on one line. An edge that cannot be a straight arrow climbs to a lane of its own above or
# below, runs level there and comes down at its target. It is level wherever it is further than _RAMP from a node's
# column, so a label between two columns that are far enough apart touches no other edge. Lengths are in inches.

_RADIUS, _LANE, _RAMP, _BEND, _SIDE = 0.17, 0.42, 0.42, 0.22, 0.6
_POINTS = 8.0  # size of an edge's label
_LINES = {"has weights": (2.6, "-"), "no weights": (1.2, "-"), "none": (0.9, ":")}  # width in points, style


class _Route(NamedTuple):
    """The way of one edge between columns `start` and `end`; lane 0 is the line of nodes, lanes above are positive."""

    choice: Choice
    start: int
    end: int
    level: float  # the lane of the source node; targets are always on lane 0
    lane: int  # the lane that the edge runs on


@mpl.rc_context(_STYLE)
def draw_cell(genotype: Genotype, learned: Collection[str]) -> Figure:
    """Draw the kinds of cell, one panel each: numbered nodes, left to right, an arrow with its operation per kept edge.

    Operations in `learned` (those that have weights) are thick, the others thin, `none` dotted. Panels have titles when
    there are several. With one input the last node is marked as the output; with more, the output joins all the inner
    nodes and is not drawn.
    """
    cells = {kind: _routes(choices) for kind, choices in genotype.cells}
    every = [route for routes in cells.values() for route in routes]
    pitch = 2 * _RAMP + max((_text_width(route.choice.op) for route in every), default=0.5)
    head = 0.35 if len(cells) > 1 else 0.05
    heights = [head + _LANE * (1 + np.ptp([0, *(route.lane for route in routes)])) for routes in cells.values()]
    bottom = sum(heights) + 0.3
    figure = Figure(figsize=(2 * _SIDE + pitch * max((route.end for route in every), default=0), bottom))
    for (kind, routes), height in zip(cells.items(), heights, strict=True):
        bottom -= height
        axes = _inch_axes(figure, bottom, height, min([0, *(route.lane for route in routes)]))
        axes.set_label(kind)
        if len(cells) > 1:
            axes.text(0.1 - _SIDE, axes.get_ylim()[1] - 0.08, kind, va="top", weight="bold", size=11)
        _draw_edges(axes, routes, pitch, learned)
        _draw_nodes(axes, routes, pitch)
    used = {_line_kind(route.choice.op, learned) for route in every}
    keys = [Line2D([], [], color="#444444", lw=w, ls=s, label=k) for k, (w, s) in _LINES.items() if k in used]
    figure.legend(handles=keys, loc="lower center", ncols=3, fontsize=8)
    return figure


def _inch_axes(figure: Figure, bottom: float, height: float, lowest: int) -> Axes:
    """Add bare axes whose unit is the inch; the line of nodes is at 0 and the `lowest` lane still fits."""
    width, whole = figure.get_size_inches()
    axes = figure.add_axes((0, bottom / whole, 1, height / whole))
    base = (lowest - 0.5) * _LANE
    axes.set(xlim=(-_SIDE, width - _SIDE), ylim=(base, base + height))
    axes.axis("off")
    return axes


def _places(choices: Iterable[Choice]) -> dict[int, tuple[int, float]]:
    """Return each node's (column, lane): inputs share column 0, one above the other; the others follow on lane 0."""
    targets = [choice.target for choice in choices] or [1]
    inputs = min(targets)
    lanes = np.linspace(1, -1, inputs) if inputs > 1 else [0.0]
    places = {node: (0, float(lane)) for node, lane in enumerate(lanes)}
    return places | {node: (node - inputs + 1, 0.0) for node in range(inputs, max(targets) + 1)}


def _routes(choices: Sequence[Choice]) -> list[_Route]:
    """Give every edge the nearest lane it can have, short edges first, so that longer ones arch over them."""
    places = _places(choices)
    routes: list[_Route] = []
    for choice in sorted(choices, key=lambda c: (places[c.target][0] - places[c.source][0], c.target)):
        (start, level), (end, _) = places[choice.source], places[choice.target]
        options = [_Route(choice, start, end, level, _free_lane(routes, start, end, side)) for side in (1, -1)]
        if level:  # the upper inputs' edges stay above, the lower inputs' below
            options = options[:1] if level > 0 else options[1:]
        elif end - start == 1 and not any(r.lane == 0 and r.start == start for r in routes):
            options = [_Route(choice, start, end, level, 0)]
        routes.append(min(options, key=lambda option: abs(option.lane)))
    return routes


def _free_lane(routes: Iterable[_Route], start: int, end: int, side: int) -> int:
    """Return the first lane on `side` (1 or -1) beyond all edges that share a stretch with start..end."""
    taken = [r.lane * side for r in routes if r.start < end and start < r.end]
    return side * (1 + max([0, *taken]))


def _label_column(route: _Route, routes: Iterable[_Route]) -> float:
    """Return where the label goes: the middle, or next to it when an outer edge climbs or comes down right there."""
    middle = (route.start + route.end) / 2
    outer = [r for r in routes if r.lane * route.lane > 0 and abs(r.lane) > abs(route.lane)]
    return middle + 0.5 * any(middle in (r.start, r.end) for r in outer)


def _draw_edges(axes: Axes, routes: Sequence[_Route], pitch: float, learned: Collection[str]) -> None:
    for route in routes:
        op = route.choice.op
        width, style = _LINES[_line_kind(op, learned)]
        arrow = FancyArrowPatch(path=_path(route, routes, pitch), arrowstyle="-" if op == "none" else "-|>")
        arrow.set(color=colour(op), linewidth=width, linestyle=style, capstyle="butt", joinstyle="miter")
        arrow.set_mutation_scale(7 + 2 * width)
        axes.add_patch(arrow)
        x, y = _label_column(route, routes) * pitch, route.lane * _LANE + 0.07
        size, shade = (6.5, "#888888") if op == "none" else (_POINTS, "#222222")
        axes.text(x, y, op, ha="center", size=size, color=shade)


def _draw_nodes(axes: Axes, routes: Sequence[_Route], pitch: float) -> None:
    places = _places(route.choice for route in routes)
    inputs = sum(column == 0 for column, _ in places.values())
    for node, (column, lane) in places.items():
        x, y = column * pitch, lane * _LANE
        axes.add_patch(Circle((x, y), _RADIUS, facecolor="white", edgecolor="#222222", lw=1.2, zorder=3))
        axes.text(x, y, str(node), ha="center", va="center_baseline", zorder=4)
        if node < inputs:
            axes.text(x - _RADIUS - 0.06, y, "in", ha="right", va="center_baseline")
        elif inputs == 1 and node == len(places) - 1:
            axes.text(x + _RADIUS + 0.06, y, "out", ha="left", va="center_baseline")


def _path(route: _Route, routes: Iterable[_Route], pitch: float) -> Path:
    """Return the way of `route` from rim to rim, in inches."""
    choice, left, right, low = route.choice, route.start * pitch, route.end * pitch, route.level * _LANE
    if route.lane == 0:
        return Path([(left + _RADIUS, 0), (right - _RADIUS, 0)])
    height, same = route.lane * _LANE, [r for r in routes if r.lane * route.lane > 0]
    leave = _steepness(route, [r for r in same if r.choice.source == choice.source]) if height != low else 0
    arrive = math.pi - _steepness(route, [r for r in same if r.choice.target == choice.target])
    up = [_along(left, low, leave, _RADIUS), _along(left, low, leave, _RADIUS + _BEND), (left + _BEND, height)]
    down = [(right - _BEND, height), *(_along(right, 0, arrive, far) for far in (_RADIUS + _BEND, _RADIUS))]
    points = [*up, (left + _RAMP, height), (right - _RAMP, height), *down]
    return Path(points, [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3])


def _steepness(route: _Route, rivals: Iterable[_Route]) -> float:
    """Return the angle (radians) of `route` at a node; all `rivals` there on its side fan out, outer ones steeper."""
    order = sorted(abs(rival.lane) for rival in rivals)
    gap = min(27, 70 / max(1, len(order) - 1))
    degrees = 62 + gap * (order.index(abs(route.lane)) - (len(order) - 1) / 2)
    return math.copysign(math.radians(degrees), route.lane)


def _along(x: float, y: float, angle: float, distance: float) -> tuple[float, float]:
    return x + distance * math.cos(angle), y + distance * math.sin(angle)


def _line_kind(op: str, learned: Collection[str]) -> str:
    if op == "none":
        return "none"
    return "has weights" if op in learned else "no weights"


def _text_width(text: str) -> float:
    """Return the width in inches of `text` as an edge's label."""
    return float(TextPath((0, 0), text, size=_POINTS).get_extents().width) / 72


# --- one search -----------------------------------------------------------------------------------------------------

_TITLES = {
    f"{key}_{split}": f"{word} accuracy of the derived architecture on {data} (table)"
    for key, data in (("c10", "CIFAR-10"), ("c100", "CIFAR-100"), ("in16", "ImageNet16-120"))
    for split, word in (("valid", "validation"), ("test", "test"))
}


@mpl.rc_context(_STYLE)
def draw_search(rows: Rows, edges: Edges, known: str | None = None) -> Figure:
    """Draw the weights of the operations over the epochs, one panel per edge and one line per candidate.

    `rows[i]["weights"][kind][edge]` has one weight per op of `edges[kind][edge]`; what follows is padding. When `known`
    is given ("c10_test") and some row has that accuracy (%) of its derived architecture, a wide panel on top shows it.
    """
    accuracy = _floats((row.get("known") or {}).get(known) for row in rows)
    on_top = int(np.isfinite(accuracy).any())
    most = max(map(len, edges.values()), default=1)
    columns = max(1, min(most, 3 if most <= 9 else 5))
    lines = on_top + sum(math.ceil(len(cell) / columns) for cell in edges.values())
    figure = Figure(figsize=(1 + 2.1 * columns, 0.8 + 1.6 * lines), layout="constrained")
    grid = figure.add_gridspec(max(lines, 1), columns)
    if known is not None and on_top:
        axes = figure.add_subplot(grid[0, :], xlabel="epoch", ylabel="accuracy (%)")
        axes.set_title(_TITLES.get(known, f"{known} of the derived architecture (table)"))
        axes.plot([row["epoch"] for row in rows], accuracy, color="#222222", marker=".", lw=1.4)
        _mark_epochs(axes, [row["epoch"] for row in rows], 10)
    _draw_weights(_edge_panels(figure, grid, on_top, edges), rows, edges)
    ops = dict.fromkeys(op for cell in edges.values() for _, _, names in cell for op in names)
    keys = [Line2D([], [], color=colour(op), lw=2, label=op) for op in ops]
    figure.legend(handles=keys, loc="outside lower center", ncols=5)
    return figure


def _edge_panels(figure: Figure, grid: GridSpec, line: int, edges: Edges) -> dict[tuple[str, int], Axes]:
    """Add a panel per edge from row `line` of the grid on, with the same axes; a kind's first row is the short one."""
    panels: dict[tuple[str, int], Axes] = {}
    for kind, cell in edges.items():
        missing, lines = -len(cell) % grid.ncols, math.ceil(len(cell) / grid.ncols)
        for edge, (target, source, _) in enumerate(cell):
            row, column = divmod(edge if edge + missing < grid.ncols else edge + missing, grid.ncols)
            first = next(iter(panels.values()), None)
            axes = figure.add_subplot(grid[line + row, column], sharex=first, sharey=first)
            axes.set_title(f"{kind} " * (len(edges) > 1) + f"{target} <- {source}")
            axes.set(xlabel="epoch" * (row == lines - 1), ylabel="weight" * (column == 0))
            axes.tick_params(labelbottom=row == lines - 1, labelleft=column == 0)
            panels[kind, edge] = axes
        line += lines
    return panels


def _draw_weights(panels: Mapping[tuple[str, int], Axes], rows: Rows, edges: Edges) -> None:
    epochs = [row["epoch"] for row in rows]
    drawn = [np.zeros(0)]
    for (kind, edge), axes in panels.items():
        for column, op in enumerate(edges[kind][edge][2]):
            weights = _floats(row["weights"][kind][edge][column] for row in rows)
            axes.plot(epochs, weights, color=colour(op), lw=1.6, label=op, marker="." if len(rows) == 1 else "")
            drawn.append(weights[np.isfinite(weights)])
        _mark_epochs(axes, epochs, 4)
    values = np.concatenate(drawn)
    for axes in list(panels.values())[:1]:  # the others share its axes
        if not len(values) or (values.min() >= 0 and values.max() < 1 + 1e-6):
            axes.set_ylim(0, 1)


def _mark_epochs(axes: Axes, epochs: Sequence[int], ticks: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


# --- many searches --------------------------------------------------------------------------------------------------


@mpl.rc_context(_STYLE)
def draw_trajectory(
    runs: Mapping[str, Sequence[Curve]],
    references: Mapping[str, float] | None = None,
    ylabel: str = "test accuracy of the derived architecture (%)",
) -> Figure:
    """Draw per method the mean over its seeds of an accuracy (%) per epoch, epochs counted from 1.

    `runs[method]` is one curve per seed, of any lengths. The band is one sample standard deviation to either side,
    where two seeds or more have a number; faint lines are the seeds. `references` are dashed lines, name to value.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=ylabel)
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    for (method, curves), shade in zip(runs.items(), cycle(_METHODS), strict=False):
        _draw_method(axes, method, curves, shade)
    for (name, value), style in zip((references or {}).items(), cycle(("--", ":", "-.")), strict=False):
        axes.axhline(value, color="#777777", ls=style, lw=1, zorder=1, label=name)
    _mark_epochs(axes, range(1, 1 + max((len(curve) for curves in runs.values() for curve in curves), default=0)), 10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_method(axes: Axes, method: str, curves: Sequence[Curve], shade: str) -> None:
    table = np.full((len(curves), max(map(len, curves), default=0)), math.nan)
    for seed, curve in enumerate(curves):
        table[seed, : len(curve)] = _floats(curve)
    epochs = np.arange(1, table.shape[1] + 1)
    seen = np.ma.masked_invalid(table)
    mean, spread = (np.ma.filled(part, math.nan) for part in (seen.mean(axis=0), seen.std(axis=0, ddof=1)))
    marker = "." if len(epochs) == 1 else ""
    for row in table:
        axes.plot(epochs, row, color=shade, lw=0.6, alpha=0.35, marker=marker)
    axes.fill_between(epochs, mean - spread, mean + spread, color=shade, alpha=0.15, lw=0)
    axes.plot(epochs, mean, color=shade, lw=2, marker=marker, label=method)


def save(figure: Figure, path: FilePath | str) -> None:
    """Write the figure as .svg or .png, by the suffix; the same figure always gives the same bytes."""
    kind = FilePath(path).suffix
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if kind not in metadata:
        raise UserError(f"cannot write a figure to '{path}'; its name must end in .svg or .png")
    with mpl.rc_context(_STYLE):
        figure.savefig(path, dpi=200, metadata=metadata[kind])
