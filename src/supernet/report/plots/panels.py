"""A figure with one panel per edge of a search space, the legend beneath a figure, and axes of costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from supernet.report.plots.style import DARK, GREY, colour, text_width
from supernet.spaces.cell import Cell

CellEdges = Sequence[tuple[int | str, int, Sequence[str]]]  # per edge: target, source, candidates
Edges = Mapping[str, CellEdges]  # per kind of cell
Floats = np.ndarray[Any, np.dtype[np.float64]]

_FAR = 2.0  # times the span of nine tenths of some values: those further below it are outside of a picture
_TITLE = 0.72  # the share of a panel's width that its title has beside the small cell


class Panel(NamedTuple):
    """One edge: number `edge` of the cells of `kind`, with the candidate operations `ops`."""

    kind: str
    edge: int
    title: str
    ops: Sequence[str]
    target: int | str
    source: int


def edges_of(cells: Mapping[str, Cell]) -> Edges:
    """Return the edges of each kind of cell; a target is `Edge.end`, the node with its branch."""
    return {kind: [(edge.end, edge.source, edge.ops) for edge in cell.edges] for kind, cell in cells.items()}


def operations(edges: Edges) -> list[str]:
    """Return the candidates of all edges, each once, in order of first appearance."""
    return list(dict.fromkeys(op for cell in edges.values() for _, _, names in cell for op in names))


def edge_panels(
    edges: Edges, xlabel: str, ylabel: str, *, title: str = "", wide_panel: bool = False
) -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """Return a figure and its panels, one per edge; all share both axes, and each kind of cell begins a new row.

    Kinds of cell with a single edge or a chain of edges share their rows. With `wide_panel` the first axes of the
    figure are an empty panel above the others, as wide as the page.
    """
    blocks = _blocks(edges)
    columns, width, height = _panel_size(blocks)
    rows = [math.ceil(len(block) / columns) for block in blocks]
    page_height = 0.5 + height * (wide_panel + sum(rows)) + 0.3 * bool(title)
    figure = Figure((max(1 + columns * width, text_width(title) + 0.2), page_height), layout="constrained")
    grid = figure.add_gridspec(max(wide_panel + sum(rows), 1), columns)
    if title:
        figure.suptitle(title)
    if wide_panel:
        figure.add_subplot(grid[0, :])
    panels: list[tuple[Panel, Axes]] = []
    for number, block in enumerate(blocks):
        first = panels[0][1] if panels else None
        panels += _add_block(figure, grid, wide_panel + sum(rows[:number]), block, first, (xlabel, ylabel))
    return figure, panels


def _panel_size(blocks: Sequence[Sequence[Panel]]) -> tuple[int, float, float]:
    """Return the number of columns that fills as few rows as possible evenly, and a panel's width and height."""
    largest = max(map(len, blocks), default=1)
    most, width, height = (3, 2.1, 1.6) if largest <= 9 else (5, 1.75, 1.45)
    titles = [text_width(panel.title) / _TITLE + 0.2 for block in blocks for panel in block]
    return math.ceil(largest / math.ceil(largest / most)), max([width, *titles]), height


def _add_block(
    figure: Figure, grid: GridSpec, row: int, block: Sequence[Panel], first: Axes | None, labels: tuple[str, str]
) -> list[tuple[Panel, Axes]]:
    """Add a block's panels from `row` of the grid on. The first row may be incomplete; the last has the x labels."""
    panels = []
    last = row + (len(block) - 1) // grid.ncols
    for number, panel in enumerate(block):
        gap = 0 if number < len(block) % grid.ncols else -len(block) % grid.ncols
        down, column = divmod(number + gap, grid.ncols)
        axes = figure.add_subplot(grid[row + down, column], sharex=first, sharey=first, title=panel.title)
        bottom, left = row + down == last, column == 0
        axes.set(xlabel=labels[0] * bottom, ylabel=labels[1] * left)
        axes.tick_params(labelbottom=bottom, labelleft=left)
        first = first or axes
        panels.append((panel, axes))
    return panels


def _blocks(edges: Edges) -> list[list[Panel]]:
    """Return the panels in blocks: one per kind of cell, but a common one for all kinds that are chains of edges."""
    blocks: dict[str | None, list[Panel]] = {}
    for kind, cell in edges.items():
        chained = len(edges) > 1 and (len(cell) == 1 or _is_chain(cell))
        for edge, (target, source, ops) in enumerate(cell):
            title = f"{kind} " * (len(edges) > 1) + f"{target} <- {source}"
            if chained:
                title = f"{kind}.{target}" if len(cell) > 1 else kind
            blocks.setdefault(None if chained else kind, []).append(Panel(kind, edge, title, ops, target, source))
    return list(blocks.values())


def _is_chain(cell: CellEdges) -> bool:
    """Return whether every node reads only the node before it."""
    return [(str(target), source) for target, source, _ in cell] == [(str(n + 1), n) for n in range(len(cell))]


def draw_place(axes: Axes, cell: CellEdges, edge: int) -> None:
    """Draw a small cell beside a panel's title: its nodes on a line, and `edge` among all edges as arcs."""
    ends = [(int(str(target).partition(".")[0]), source) for target, source, _ in cell]
    last = max(target for target, _ in ends)
    if _is_chain(cell):
        return  # the numbers tell the place
    axes.title.set(x=0, ha="left")
    turn, step = np.linspace(0, np.pi, 13), (1 - _TITLE) / last
    arcs = [
        np.stack(
            [_TITLE + step * ((t + s - (t - s) * np.cos(turn)) / 2), 1.05 + 0.13 * (t - s) / last * np.sin(turn)], 1
        )
        for t, s in ends
    ]
    widths, shades = [0.4] * len(arcs), [GREY] * len(arcs)
    places = LineCollection(
        [*arcs, arcs[edge]], colors=[*shades, DARK], linewidths=[*widths, 1.8], transform=axes.transAxes, clip_on=False
    )
    places.set_in_layout(False)  # no higher than the title
    axes.add_collection(places, autolim=False)


def label_costs(axes: Axes, text: str | Callable[[float, Any], str]) -> None:
    """Label a logarithmic axis of costs at round numbers, of which there are several in a narrow range, too."""
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high > 10 * low else range(1, 10)
    axes.xaxis.set(major_locator=LogLocator(subs=subs), major_formatter=text, minor_formatter=NullFormatter())


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add a legend beneath the panels, in as few rows of at most 5 entries as fit, and enlarge the figure for it."""
    width, height = figure.get_size_inches()
    for rows in range(math.ceil(len(handles) / 5), len(handles) + 1 if handles else 0):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / rows))
        box = legend.get_window_extent()
        needed = 1.05 * box.width / figure.dpi  # other canvases may set the letters a little further apart
        if needed <= width or rows == len(handles):
            figure.set_size_inches(max(width, needed), height + box.height / figure.dpi)
            break
        legend.remove()


def distinct_styles(ops: Iterable[str], styles: Sequence[str]) -> dict[str, str]:
    """Return one of the `styles` per operation, so that operations of the same colour still differ."""
    seen: Counter[str] = Counter()
    chosen = {}
    for op in ops:
        chosen[op] = styles[seen[colour(op)] % len(styles)]
        seen[colour(op)] += 1
    return chosen


def far_below(values: Floats) -> NDArray[np.bool_]:
    """Return which values are so far below nine tenths of them that a picture of all would show little else."""
    low, high = np.quantile(values, (0.05, 0.95))
    far: NDArray[np.bool_] = values < low - _FAR * (high - low)
    return far


def floats(values: Iterable[float | None]) -> Floats:
    """Return the values as an array, NaN for None."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
