"""The search spaces, by name."""

from __future__ import annotations

from supernet.errors import unknown
from supernet.spaces.base import Cell, Edge, SearchSpace, Skeleton
from supernet.spaces.nasbench201 import NASBENCH201

__all__ = ["SPACES", "Cell", "Edge", "SearchSpace", "Skeleton", "space"]

SPACES: dict[str, SearchSpace] = {value.name: value for value in (NASBENCH201,)}


def space(which: str | SearchSpace) -> SearchSpace:
    """Return the space of that name, or a space as it is; raises UserError for an unknown name."""
    if isinstance(which, SearchSpace):
        return which
    if which not in SPACES:
        raise unknown("space", which, SPACES)
    return SPACES[which]
