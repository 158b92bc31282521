"""A panel for every edge of a space: the grid that they stand in, the page it needs, and the legend beneath."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from supernet.report.plots.style import colour, text_room
from supernet.spaces.cell import Cell

Edges = Mapping[str, Sequence[tuple[int | str, int, Sequence[str]]]]  # per kind, per edge: target, source, candidates
Floats = np.ndarray[Any, np.dtype[np.float64]]

_POINTS = 9.0  # size of titles and of the legend's text, as in STYLE


class Panel(NamedTuple):
    """What one panel shows: edge number `edge` of the cells of `kind`, with the candidates `ops`."""

    kind: str
    edge: int
    title: str
    ops: Sequence[str]


def edges_of(cells: Mapping[str, Cell]) -> Edges:
    """Return the edges of the kinds of cell, those into another branch of a node by another name."""
    return {kind: [(edge.end, edge.source, edge.ops) for edge in cell.edges] for kind, cell in cells.items()}


def blocks(edges: Edges) -> list[list[Panel]]:
    """Return the panels that stand together: those of one kind; those of all the kinds that have a single edge."""
    found: dict[str | None, list[Panel]] = {}
    for kind, cell in edges.items():
        alone = len(cell) == 1 and len(edges) > 1
        for edge, (target, source, ops) in enumerate(cell):
            title = kind if alone else f"{kind} " * (len(edges) > 1) + f"{target} <- {source}"
            found.setdefault(None if alone else kind, []).append(Panel(kind, edge, title, ops))
    return list(found.values())


def operations(edges: Edges) -> list[str]:
    """Return the candidates of all edges, each once, as they first come."""
    return list(dict.fromkeys(op for cell in edges.values() for _, _, names in cell for op in names))


def page(
    grids: Sequence[Sequence[Panel]], labels: Sequence[str], on_top: int = 0, title: str = ""
) -> tuple[Figure, GridSpec]:
    """Return a figure and the grid of its panels, `on_top` wide ones first.

    It has room for a line of `title`, which is written, and for a legend of `labels`, which is not.
    """
    most = max(map(len, grids), default=1)
    few = most <= 9
    columns = math.ceil(most / math.ceil(most / (3 if few else 5)))  # in no more rows than needed, evenly
    lines = on_top + sum(math.ceil(len(block) / columns) for block in grids)
    titles = [text_room(panel.title, _POINTS) + 0.2 for block in grids for panel in block]
    panels = 1 + columns * max([2.1 if few else 1.75, *titles])
    width = max(panels, _legend_width(labels, 1), text_room(title, _POINTS) + 0.2)
    keys = math.ceil(len(labels) / _legend_columns(labels, width))
    height = 0.8 + (1.6 if few else 1.45) * lines + 0.19 * max(0, keys - 1) + 0.25 * bool(title)
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=_POINTS)
    return figure, figure.add_gridspec(max(lines, 1), columns)


def edge_panels(
    figure: Figure, grid: GridSpec, grids: Iterable[Sequence[Panel]], axis: tuple[str, str], line: int = 0
) -> list[tuple[Panel, Axes]]:
    """Add the panels from row `line` of the grid on, with the same axes; a block's first row is the short one.

    `axis` has the names of both axes, which stand at the bottom and on the left.
    """
    panels: list[tuple[Panel, Axes]] = []
    for block in grids:
        missing, lines = -len(block) % grid.ncols, math.ceil(len(block) / grid.ncols)
        for place, panel in enumerate(block):
            row, column = divmod(place if place + missing < grid.ncols else place + missing, grid.ncols)
            first = panels[0][1] if panels else None
            axes = figure.add_subplot(grid[line + row, column], sharex=first, sharey=first, title=panel.title)
            axes.set(xlabel=axis[0] * (row == lines - 1), ylabel=axis[1] * (column == 0))
            axes.tick_params(labelbottom=row == lines - 1, labelleft=column == 0)
            panels.append((panel, axes))
        line += lines
    return panels


def add_legend(figure: Figure, keys: Sequence[Artist]) -> None:
    """Write the legend beneath the panels; the page was made for the labels of its `keys`."""
    labels = [str(key.get_label()) for key in keys]
    columns = _legend_columns(labels, figure.get_figwidth())
    figure.legend(handles=keys, loc="outside lower center", ncols=columns)


def told_apart(ops: Iterable[str], styles: Sequence[str]) -> dict[str, str]:
    """Return one of the `styles` per operation, so that two with the same colour still differ."""
    seen: Counter[str] = Counter()
    chosen = {}
    for op in ops:
        chosen[op] = styles[seen[colour(op)] % len(styles)]
        seen[colour(op)] += 1
    return chosen


def floats(values: Iterable[float | None]) -> Floats:
    """Return the values as an array, NaN for None."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many columns, 5 at most, give a legend with the fewest rows that fits into `width` inches."""
    fitting = [count for count in range(1, 6) if _legend_width(labels, count) <= width]
    return min(fitting, key=lambda count: math.ceil(len(labels) / count), default=1)


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """Return the inches that a legend needs in so many columns; Matplotlib fills them one after the other."""
    em = _POINTS / 72  # a line is 2 em long, 0.8 before its text; columns are 2 em apart, the border takes 0.9 a side
    filled = [part for part in np.array_split([text_room(label, _POINTS) for label in labels], columns) if len(part)]
    return float(sum(part.max() for part in filled)) + em * (4.8 * len(filled) - 2 + 1.8)
