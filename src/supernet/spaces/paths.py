"""Paths: what of an architecture lies between the inputs of a cell and its output, and what does nothing."""

from __future__ import annotations

from collections.abc import Sequence

from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice
from supernet.spaces.search_space import SearchSpace


def working(space: SearchSpace, cell: Cell, choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices that lie on a path from an input of the cell to its output."""
    carrying = [choice for choice in choices if not space.primitive(choice.op).zero]
    reached = set(range(cell.inputs))
    for choice in carrying:  # sorted by target, so that every source is settled before it is used
        if choice.source in reached:
            reached.add(choice.target)
    needed = set(cell.ends({choice.source for choice in choices}))
    for choice in reversed(carrying):
        if choice.target in needed:
            needed.add(choice.source)
    return [choice for choice in carrying if choice.source in reached and choice.target in needed]


def wastes(space: SearchSpace, cell: Cell, choices: Sequence[Choice]) -> bool:
    """Return whether no path leads through the cell, or an operation that has weights lies on none.

    An edge that no architecture of the cell has on a path, since nothing leads on from it, is not counted.
    """
    sources = {edge.source for edge in cell.edges}
    ends = sources | set(cell.ends(sources))
    live = working(space, cell, choices)
    idle = [choice for choice in choices if choice not in live and choice.target in ends]
    return not live or any(space.primitive(choice.op).learned for choice in idle)
