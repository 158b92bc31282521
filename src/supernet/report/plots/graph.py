"""The graph of one cell: numbered nodes, and an arrow with its operation for each edge."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path

from supernet.report.plots.style import DARK, GREY, LINES, colour, line_kind, text_width
from supernet.spaces.genotype import Choice

# Nodes stand in columns on one line. An edge that cannot be a straight arrow climbs to a lane of its own above or below
# the nodes, runs level there and descends to its target. An edge is level wherever it is further than _RAMP from a
# node's column, so a label between two columns that are far enough apart touches no other edge. Lengths are in inches.

_RADIUS, _LANE, _RAMP, _BEND = 0.17, 0.42, 0.42, 0.22
_POINTS = 8.0  # the size of an edge's label
_JOINS = ""  # the operation of an edge that only leads a node to the output


class Route(NamedTuple):
    """The course of an edge between columns `start` and `end`; nodes are on lane 0, lanes above them are positive."""

    choice: Choice
    start: int
    end: int
    level: float  # the lane of the source node; target nodes are always on lane 0
    lane: int  # the lane that the edge runs on


def with_output(choices: Sequence[Choice], ends: Collection[int]) -> list[Choice]:
    """Return the edges of a cell, and an edge from each of the nodes `ends` into one more node, the output."""
    output = 1 + max([*(choice.target for choice in choices), *ends], default=0)
    return [*choices, *(Choice(output, node, _JOINS) for node in ends)]


def routes_of(choices: Sequence[Choice], bare: Collection[int]) -> list[Route]:
    """Put every edge on the nearest free lane, short edges first, so that longer edges arch over them."""
    places = _places(choices, bare)
    routes: list[Route] = []
    for choice in sorted(choices, key=lambda c: (places[c.target][0] - places[c.source][0], c.target)):
        (start, level), (end, _) = places[choice.source], places[choice.target]
        options = [Route(choice, start, end, level, _free_lane(routes, start, end, side)) for side in (1, -1)]
        if level:  # edges from upper inputs stay above the nodes, edges from lower inputs below
            options = options[:1] if level > 0 else options[1:]
        elif end - start == 1 and not any(r.lane == 0 and r.start == start for r in routes):
            options = [Route(choice, start, end, level, 0)]
        routes.append(min(options, key=lambda option: abs(option.lane)))
    return routes


def extent(routes: Sequence[Route], bare: Collection[int]) -> tuple[float, float]:
    """Return the y of the lower and of the upper edge of a graph."""
    nodes = _places([route.choice for route in routes], bare).values()
    lanes = [*(lane for _, lane in nodes), *(route.lane for route in routes)]
    return (min(lanes) - 0.5) * _LANE, (max(lanes) + 0.5) * _LANE


def column_pitch(routes: Sequence[Route]) -> float:
    """Return the distance between columns that leaves room for every label."""
    return 2 * _RAMP + max((text_width(route.choice.op, _POINTS) for route in routes), default=0.5)


def draw_graph(
    axes: Axes, routes: Sequence[Route], pitch: float, learned: Collection[str], bare: Collection[int]
) -> None:
    """Draw a graph with columns at multiples of `pitch`; operations in `learned` have weights, nodes `bare` no edge."""
    for route in routes:
        op = route.choice.op
        width, style = (0.9, "-") if op == _JOINS else LINES[line_kind(op, learned)]
        arrow = FancyArrowPatch(path=_path(route, routes, pitch), arrowstyle="-" if op == "none" else "-|>")
        arrow.set(
            color=GREY if op == _JOINS else colour(op),
            linewidth=width,
            linestyle=style,
            capstyle="butt",
            joinstyle="miter",
        )
        arrow.set_mutation_scale(7 + 2 * width)
        axes.add_patch(arrow)
        x, y = _label_column(route, routes) * pitch, route.lane * _LANE + 0.07
        size, shade = (6.5, "#888888") if op == "none" else (_POINTS, DARK)
        axes.text(x, y, op, ha="center", size=size, color=shade)
    output = {route.choice.target for route in routes if route.choice.op == _JOINS}
    _draw_nodes(axes, _places([route.choice for route in routes], bare), pitch, output)


def _places(choices: Sequence[Choice], bare: Collection[int]) -> dict[int, tuple[int, float]]:
    """Return each node's (column, lane): inputs are stacked in column 0, the other nodes follow on lane 0."""
    targets = [*(choice.target for choice in choices), *bare] or [1]
    inputs = min(targets)
    lanes = np.linspace(1, -1, inputs) if inputs > 1 else [0.0]
    places = {node: (0, float(lane)) for node, lane in enumerate(lanes)}
    return places | {node: (node - inputs + 1, 0.0) for node in range(inputs, max(targets) + 1)}


def _free_lane(routes: Iterable[Route], start: int, end: int, side: int) -> int:
    """Return the first lane on `side` (1 or -1) beyond all edges that share a stretch with start..end."""
    taken = [r.lane * side for r in routes if r.start < end and start < r.end]
    return side * (1 + max([0, *taken]))


def _label_column(route: Route, routes: Iterable[Route]) -> float:
    """Return the column of the label: the middle, or half a column on if an outer edge climbs or descends there."""
    middle = (route.start + route.end) / 2
    outer = [r for r in routes if r.lane * route.lane > 0 and abs(r.lane) > abs(route.lane)]
    return middle + 0.5 * any(middle in (r.start, r.end) for r in outer)


def _draw_nodes(axes: Axes, places: dict[int, tuple[int, float]], pitch: float, output: Collection[int]) -> None:
    inputs = sum(column == 0 for column, _ in places.values())
    for node, (column, lane) in places.items():
        x, y = column * pitch, lane * _LANE
        axes.add_patch(Circle((x, y), _RADIUS, facecolor="white", edgecolor=DARK, lw=1.2, zorder=3))
        name, points = ("out", 7.0) if node in output else (str(node), 9.0)
        axes.text(x, y, name, ha="center", va="center_baseline", size=points, zorder=4)
        if node < inputs:
            axes.text(x - _RADIUS - 0.06, y, "in", ha="right", va="center_baseline")
        elif inputs == 1 and node == len(places) - 1:
            axes.text(x + _RADIUS + 0.06, y, "out", ha="left", va="center_baseline")


def _path(route: Route, routes: Iterable[Route], pitch: float) -> Path:
    """Return the path of `route` from rim to rim."""
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


def _steepness(route: Route, rivals: Iterable[Route]) -> float:
    """Return the angle (radians) of `route` at a node, where all `rivals` on its side fan out, outer ones steeper."""
    order = sorted(abs(rival.lane) for rival in rivals)
    gap = min(27, 70 / max(1, len(order) - 1))
    degrees = 62 + gap * (order.index(abs(route.lane)) - (len(order) - 1) / 2)
    return math.copysign(math.radians(degrees), route.lane)


def _along(x: float, y: float, angle: float, distance: float) -> tuple[float, float]:
    return x + distance * math.cos(angle), y + distance * math.sin(angle)
