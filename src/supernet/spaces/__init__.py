"""The search spaces, by name."""

from __future__ import annotations

from supernet.errors import UserError, imported, unknown
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.darts import DARTS, DARTS7, S1, S2, S3, S4
from supernet.spaces.nao import NAO, NAO_MIDDLE
from supernet.spaces.nasbench201 import NASBENCH201
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize
from supernet.spaces.skeleton import Chain, Position, Stack, Stages

__all__ = [
    "SPACES",
    "Cell",
    "Chain",
    "Edge",
    "NetworkSize",
    "Position",
    "SearchSpace",
    "Stack",
    "Stages",
    "space",
    "space_again",
]

SPACES: dict[str, SearchSpace] = {
    value.name: value for value in (NASBENCH201, DARTS, DARTS7, S1, S2, S3, S4, NAO, NAO_MIDDLE)
}


def space(which: str | SearchSpace) -> SearchSpace:
    """Return the space of that name, your own as "module:NAME", or a space as it is.

    Raises UserError if there is none.
    """
    if isinstance(which, SearchSpace):
        return which
    if which in SPACES:
        return SPACES[which]
    if ":" not in which:
        raise unknown("space", which, SPACES)
    found = imported("space", which)
    if not isinstance(found, SearchSpace):
        raise UserError(f"space '{which}' is not a supernet.SearchSpace")
    return found


def space_again(name: str) -> SearchSpace:
    """Return the space that a run names; raises UserError for one that its name does not find again."""
    if name not in SPACES and ":" not in name:
        raise UserError(f"space '{name}' is one of your own: give it, too, as --space module:NAME, or space= in Python")
    return space(name)
