"""The figure of an architecture: the graph of each kind of cell, or the chain of a macro space's positions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from supernet.report.plots.chain import TOP, ChainDrawing
from supernet.report.plots.graph import column_pitch, draw_graph, extent, routes_of, with_output
from supernet.report.plots.style import GREY, STYLE, line_keys, line_kind
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.search_space import SearchSpace

_SIDE, _LEGEND = 0.6, 0.3  # inches on the left and on the right, and for the legend


@mpl.rc_context(STYLE)
def draw_cell(
    genotype: Genotype,
    learned: Collection[str],
    kinds: Iterable[str] | None = None,
    outputs: Mapping[str, Collection[int]] | None = None,
) -> Figure:
    """Draw each kind of cell in a panel: numbered nodes from left to right, and an arrow per kept edge.

    The arrows of operations in `learned` (operations with weights) are thick, others thin, `none` dotted. A cell whose
    nodes `outputs[kind]`, side by side, are its output (see `outputs_of`) has grey arrows from them into a node of its
    own; any other cell with one input has its last node marked as the output. Two branches of a node are two arrows.

    If several kinds of cell are a single edge from input to output, or a chain of edges, as in a macro space, these
    kinds are drawn together as boxes, one per edge; if there are no other kinds, arrows join the boxes in the order of
    `kinds` (default: alphabetical).
    """
    cells = {kind: genotype[kind] for kind in kinds or dict(genotype.cells)}
    positions = _positions(cells)
    chain = ChainDrawing.of({name: op for ops in positions.values() for name, op in ops.items()})
    bare = dict(genotype.bare)
    drawn = {kind: with_output(cells[kind], (outputs or {}).get(kind, ())) for kind in cells if kind not in positions}
    graphs = {kind: routes_of(choices, bare.get(kind, ())) for kind, choices in drawn.items()}
    every = [route for routes in graphs.values() for route in routes]
    pitch = column_pitch(every)
    keys = line_keys({line_kind(choice.op, learned) for choices in cells.values() for choice in choices})
    if any((outputs or {}).get(kind) for kind in drawn):
        keys.append(Line2D([], [], color=GREY, lw=0.9, label="to the output"))
    last = max((len({*bare.get(kind, ()), *(c.target for c in drawn[kind])}) for kind in graphs), default=0)
    width = max(pitch * last, chain.width, 1.1 * len(keys) - 2 * _SIDE)
    spans = {kind: extent(routes, bare.get(kind, ())) for kind, routes in graphs.items()}
    head = 0.35 if len(cells) > 1 else 0.05  # room for a title
    bottom = sum(high + head - low for low, high in spans.values()) + chain.height + _LEGEND
    figure = Figure(figsize=(2 * _SIDE + width, bottom))
    for kind, (low, high) in spans.items():
        bottom -= high + head - low
        axes = _inch_axes(figure, bottom, low, high + head)
        axes.set_label(kind)
        if len(cells) > 1:
            axes.text(0.1 - _SIDE, high + head - 0.08, kind, va="top", weight="bold", size=11)
        draw_graph(axes, graphs[kind], pitch, learned, bare.get(kind, ()))
    if chain.ops:
        chain.draw(_inch_axes(figure, _LEGEND, TOP - chain.height, TOP), learned, linked=not graphs)
    figure.legend(handles=keys, loc="lower center", ncols=4, fontsize=8)
    return figure


def draw_architecture(space: SearchSpace, genotype: Genotype) -> Figure:
    """Draw an architecture of a space, which knows what has weights and what leads to the output of its cells."""
    return draw_cell(genotype, learned(space), list(space.cells), outputs_of(space.cells, genotype))


def learned(space: SearchSpace) -> set[str]:
    """Return the operations of a space that have weights."""
    ops = {op for cell in space.cells.values() for edge in cell.edges for op in edge.ops}
    return {op for op in ops if space.primitive(op).learned}


def outputs_of(cells: Mapping[str, Cell], genotype: Genotype) -> dict[str, tuple[int, ...]]:
    """Return the nodes whose outputs, side by side, are the output of each kind of cell, where it is not one node's."""
    read = {kind: {choice.source for choice in genotype[kind]} for kind in cells}
    return {kind: cell.ends(read[kind]) for kind, cell in cells.items() if cell.output != "last"}


def _positions(cells: Mapping[str, Sequence[Choice]]) -> dict[str, dict[str, str]]:
    """Return each kind of cell that is a chain of edges from its only input, if several kinds are.

    A kind holds the operations of its edges, by the name of the kind, with a number where the chain has several edges.
    """
    chains = {
        kind: {kind if len(choices) == 1 else f"{kind}.{choice.target}": choice.op for choice in choices}
        for kind, choices in cells.items()
        if [choice[:2] for choice in choices] == [(number + 1, number) for number in range(len(choices))]
    }
    return chains if len(chains) > 1 else {}


def _inch_axes(figure: Figure, bottom: float, low: float, high: float) -> Axes:
    """Add axes without ticks whose unit is the inch: y runs from `low` to `high`, and x = 0 is the first column."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, bottom / height, 1, (high - low) / height))
    axes.set(xlim=(-_SIDE, width - _SIDE), ylim=(low, high))
    axes.axis("off")
    return axes
