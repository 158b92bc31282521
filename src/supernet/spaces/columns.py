"""Architectures of one cell as columns of alpha: their number, the strongest one, and a uniform draw.

`candidates` has, per edge of the cell, the columns that an architecture may choose; an architecture has one column per
edge, or None on an edge that is not kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import prod

from supernet.spaces.cell import Cell

Candidates = Sequence[Sequence[int]]


def count(cell: Cell, candidates: Candidates) -> int:
    """Return the number of architectures of the cell."""
    return prod(sum(prod(len(candidates[e]) for e in edges) for edges in cell.ways(group)) for group in cell.groups())


def strongest(cell: Cell, candidates: Candidates, rows: Sequence[Sequence[float]]) -> list[int | None]:
    """Return the best column of every edge, on the edges with the best columns of their group; the first of equals.

    An edge that its node need not keep is kept if its score is above 0, so that the sum of scores is the largest.
    """
    best = [max(columns, key=row.__getitem__) for columns, row in zip(candidates, rows, strict=True)]
    kept: set[int] = set()
    for group in cell.groups():
        order = sorted(group, key=lambda e: -rows[e][best[e]])[: cell.kept(group)]
        kept.update(e for n, e in enumerate(order) if n < cell.fewest(group) or rows[e][best[e]] > 0)
    return [column if e in kept else None for e, column in enumerate(best)]


def draw(cell: Cell, candidates: Candidates, rng: random.Random) -> list[int | None]:
    """Draw an architecture of the cell uniformly."""
    chosen: list[int | None] = [None] * len(candidates)
    for group in cell.groups():
        every = cell.kept(group) == len(group) and cell.keep is None
        for e in group if every else _draw_edges(cell, group, candidates, rng):
            chosen[e] = candidates[e][rng.randrange(len(candidates[e]))]
    return chosen


def _draw_edges(cell: Cell, group: list[int], candidates: Candidates, rng: random.Random) -> tuple[int, ...]:
    """Draw the edges of a group that are kept, in proportion to the number of architectures that keep them."""
    choices = list(cell.ways(group))
    return rng.choices(choices, [prod(len(candidates[e]) for e in edges) for edges in choices])[0]
