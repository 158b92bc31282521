"""The selectors: from a supernet and what was learned to one architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet.errors import unknown
from supernet.selectors.magnitude import magnitude

if TYPE_CHECKING:
    from supernet.genotype import Genotype
    from supernet.limits import Bounds
    from supernet.methods.base import Method

__all__ = ["SELECTORS", "Selector", "selector"]


@dataclass(frozen=True)
class Selector:
    """A named rule that reads an architecture out of a run, whatever method made it, within the search's limits."""

    name: str
    select: Callable[[Method, Bounds], Genotype]
    summary: str
    paper: str


SELECTORS: dict[str, Selector] = {
    value.name: value
    for value in (
        Selector(
            "magnitude",
            magnitude,
            "the operation with the largest weight on every edge",
            "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055",
        ),
    )
}


def selector(name: str) -> Selector:
    """Return the selector of that name; raises UserError if there is none."""
    if name not in SELECTORS:
        raise unknown("selector", name, SELECTORS)
    return SELECTORS[name]
