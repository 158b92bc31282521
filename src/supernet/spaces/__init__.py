"""The search spaces by name, and the data types that describe a space."""

from __future__ import annotations

from supernet.errors import UserError, unknown
from supernet.registry import imported, recorded
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
    "recorded_space",
    "space",
]

SPACES: dict[str, SearchSpace] = {
    value.name: value for value in (NASBENCH201, DARTS, DARTS7, S1, S2, S3, S4, NAO, NAO_MIDDLE)
}


def space(which: str | SearchSpace) -> SearchSpace:
    """Return the space called `which`, one of your own as "module:NAME", or `which` itself if it is a space.

    Raises UserError if there is none.
    """
    if isinstance(which, SearchSpace):
        return which
    if not isinstance(which, str):
        raise UserError(f"space cannot be of type {type(which).__name__}: {which!r}")
    if which in SPACES:
        return SPACES[which]
    if ":" not in which:
        raise unknown("space", which, SPACES)
    value = imported("space", which)
    if not isinstance(value, SearchSpace):
        raise UserError(f"space '{which}' is not a supernet.SearchSpace")
    return value


def recorded_space(name: object) -> SearchSpace:
    """Return the built-in space with the name that a run recorded; raises UserError for a space of the user's own."""
    return SPACES[recorded("space", name, SPACES)]
