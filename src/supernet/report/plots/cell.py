"""An architecture as a graph: the numbered nodes of each cell, and an arrow with its operation for each edge."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path

from supernet.report.plots.chain import ChainDrawing
from supernet.report.plots.style import DARK, LINES, STYLE, colour, line_keys, line_kind, text_width
from supernet.spaces.genotype import Choice, Genotype

# Nodes stand in columns on one line. An edge that cannot be a straight arrow climbs to a lane of its own above or below
# the nodes, runs level there and descends to its target. An edge is level wherever it is further than _RAMP from a
# node's column, so a label between two columns that are far enough apart touches no other edge. Lengths are in inches.

_RADIUS, _LANE, _RAMP, _BEND, _SIDE = 0.17, 0.42, 0.42, 0.22, 0.6
_POINTS = 8.0  # size of an edge's label


class _Route(NamedTuple):
    """The course of an edge between columns `start` and `end`; nodes are on lane 0, lanes above them are positive."""

    choice: Choice
    start: int
    end: int
    level: float  # the lane of the source node; target nodes are always on lane 0
    lane: int  # the lane that the edge runs on


@mpl.rc_context(STYLE)
def draw_cell(genotype: Genotype, learned: Collection[str], kinds: Iterable[str] | None = None) -> Figure:
    """Draw each kind of cell in a panel: numbered nodes from left to right, and an arrow per kept edge.

    The arrows of operations in `learned` (operations with weights) are thick, others thin, `none` dotted. A cell with
    one input has its last node marked as the output; with several inputs, the output joins all inner nodes, or those
    that no arrow leaves, and is not drawn. Two branches of a node are two arrows.

    If several kinds of cell are a single edge from input to output, as in a macro space, these kinds are drawn together
    as boxes; if there are no other kinds, arrows join the boxes in the order of `kinds` (default: alphabetical).
    """
    architecture = {kind: genotype[kind] for kind in kinds or dict(genotype.cells)}
    chain = ChainDrawing.of(_positions(architecture))
    cells = {kind: _routes(choices) for kind, choices in architecture.items() if kind not in chain.ops}
    every = [route for routes in cells.values() for route in routes]
    pitch = 2 * _RAMP + max((text_width(route.choice.op, _POINTS) for route in every), default=0.5)
    head = 0.35 if len(architecture) > 1 else 0.05
    heights = [head + _LANE * (1 + np.ptp([0, *(route.lane for route in routes)])) for routes in cells.values()]
    keys = line_keys({line_kind(choice.op, learned) for choices in architecture.values() for choice in choices})
    width = max(pitch * max((route.end for route in every), default=0), chain.width, 1.1 * len(keys) - 2 * _SIDE)
    bottom = sum(heights) + chain.height + 0.3
    figure = Figure(figsize=(2 * _SIDE + width, bottom))
    for (kind, routes), height in zip(cells.items(), heights, strict=True):
        bottom -= height
        axes = _inch_axes(figure, bottom, height, (min([0, *(route.lane for route in routes)]) - 0.5) * _LANE)
        axes.set_label(kind)
        if len(architecture) > 1:
            axes.text(0.1 - _SIDE, axes.get_ylim()[1] - 0.08, kind, va="top", weight="bold", size=11)
        _draw_edges(axes, routes, pitch, learned)
        _draw_nodes(axes, routes, pitch)
    if chain.ops:
        chain.draw(_inch_axes(figure, 0.3, chain.height, chain.base), learned, linked=not cells)
    figure.legend(handles=keys, loc="lower center", ncols=3, fontsize=8)
    return figure


def _positions(cells: Mapping[str, Sequence[Choice]]) -> dict[str, str]:
    """Return the operation of each kind of cell that is a single edge from its only input, if several kinds are."""
    ops = {kind: choices[0].op for kind, choices in cells.items() if [choice[:2] for choice in choices] == [(1, 0)]}
    return ops if len(ops) > 1 else {}


def _inch_axes(figure: Figure, bottom: float, height: float, base: float) -> Axes:
    """Add axes without ticks whose unit is the inch: y begins at `base`, x = 0 is the first column."""
    width, whole = figure.get_size_inches()
    axes = figure.add_axes((0, bottom / whole, 1, height / whole))
    axes.set(xlim=(-_SIDE, width - _SIDE), ylim=(base, base + height))
    axes.axis("off")
    return axes


def _places(choices: Iterable[Choice]) -> dict[int, tuple[int, float]]:
    """Return each node's (column, lane): inputs are stacked in column 0, the other nodes follow on lane 0."""
    targets = [choice.target for choice in choices] or [1]
    inputs = min(targets)
    lanes = np.linspace(1, -1, inputs) if inputs > 1 else [0.0]
    places = {node: (0, float(lane)) for node, lane in enumerate(lanes)}
    return places | {node: (node - inputs + 1, 0.0) for node in range(inputs, max(targets) + 1)}


def _routes(choices: Sequence[Choice]) -> list[_Route]:
    """Return a route for every edge in the nearest free lane, short edges first, so that longer edges arch over."""
    places = _places(choices)
    routes: list[_Route] = []
    for choice in sorted(choices, key=lambda c: (places[c.target][0] - places[c.source][0], c.target)):
        (start, level), (end, _) = places[choice.source], places[choice.target]
        options = [_Route(choice, start, end, level, _free_lane(routes, start, end, side)) for side in (1, -1)]
        if level:  # edges from upper inputs stay above the nodes, edges from lower inputs below
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
    """Return the column of the label: the middle, or half a column on if an outer edge climbs or descends there."""
    middle = (route.start + route.end) / 2
    outer = [r for r in routes if r.lane * route.lane > 0 and abs(r.lane) > abs(route.lane)]
    return middle + 0.5 * any(middle in (r.start, r.end) for r in outer)


def _draw_edges(axes: Axes, routes: Sequence[_Route], pitch: float, learned: Collection[str]) -> None:
    for route in routes:
        op = route.choice.op
        width, style = LINES[line_kind(op, learned)]
        arrow = FancyArrowPatch(path=_path(route, routes, pitch), arrowstyle="-" if op == "none" else "-|>")
        arrow.set(color=colour(op), linewidth=width, linestyle=style, capstyle="butt", joinstyle="miter")
        arrow.set_mutation_scale(7 + 2 * width)
        axes.add_patch(arrow)
        x, y = _label_column(route, routes) * pitch, route.lane * _LANE + 0.07
        size, shade = (6.5, "#888888") if op == "none" else (_POINTS, DARK)
        axes.text(x, y, op, ha="center", size=size, color=shade)


def _draw_nodes(axes: Axes, routes: Sequence[_Route], pitch: float) -> None:
    places = _places(route.choice for route in routes)
    inputs = sum(column == 0 for column, _ in places.values())
    for node, (column, lane) in places.items():
        x, y = column * pitch, lane * _LANE
        axes.add_patch(Circle((x, y), _RADIUS, facecolor="white", edgecolor=DARK, lw=1.2, zorder=3))
        axes.text(x, y, str(node), ha="center", va="center_baseline", zorder=4)
        if node < inputs:
            axes.text(x - _RADIUS - 0.06, y, "in", ha="right", va="center_baseline")
        elif inputs == 1 and node == len(places) - 1:
            axes.text(x + _RADIUS + 0.06, y, "out", ha="left", va="center_baseline")


def _path(route: _Route, routes: Iterable[_Route], pitch: float) -> Path:
    """Return the path of `route` from rim to rim, in inches."""
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
    """Return the angle (radians) of `route` at a node, where all `rivals` on its side fan out, outer ones steeper."""
    order = sorted(abs(rival.lane) for rival in rivals)
    gap = min(27, 70 / max(1, len(order) - 1))
    degrees = 62 + gap * (order.index(abs(route.lane)) - (len(order) - 1) / 2)
    return math.copysign(math.radians(degrees), route.lane)


def _along(x: float, y: float, angle: float, distance: float) -> tuple[float, float]:
    return x + distance * math.cos(angle), y + distance * math.sin(angle)
