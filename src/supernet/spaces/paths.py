"""The operations of an architecture that lie on a path from a cell's inputs to its output."""

from __future__ import annotations

from collections.abc import Sequence

from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice
from supernet.spaces.search_space import SearchSpace


def live_choices(space: SearchSpace, cell: Cell, choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices on a path from an input of the cell to its output."""
    nonzero = [choice for choice in choices if not space.primitive(choice.op).zero]
    reached = set(range(cell.inputs))
    for choice in nonzero:  # sorted by target: whether a source is reached is known before it is read
        if choice.source in reached:
            reached.add(choice.target)
    needed = set(cell.ends({choice.source for choice in choices}))
    for choice in reversed(nonzero):
        if choice.target in needed:
            needed.add(choice.source)
    return [choice for choice in nonzero if choice.source in reached and choice.target in needed]


def is_wasteful(space: SearchSpace, cell: Cell, choices: Sequence[Choice]) -> bool:
    """Return whether no path leads through the cell, or an operation with weights lies on no path.

    Edges into a node that no edge of the cell reads and that is not part of the output are not counted: no architecture
    has them on a path.
    """
    sources = {edge.source for edge in cell.edges}
    useful = sources | set(cell.ends(sources))
    live = live_choices(space, cell, choices)
    idle = [choice for choice in choices if choice not in live and choice.target in useful]
    return not live or any(space.primitive(choice.op).learned for choice in idle)
