"""Architectures by how likely they are where every operation is drawn by its op weight.

The probability of an architecture is in proportion to the product of the op weights that it has: where every edge is
kept, each edge draws its operation by itself; where a node keeps few edges, which ones is drawn with their operations.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace

OpWeights = Mapping[str, Sequence[Sequence[float]]]
"""Per kind of cell a row for each edge and a column for each candidate; columns beyond these are ignored."""

Columns = dict[tuple[str, int], int]  # the column of each edge that is kept


def drawn(space: SearchSpace, weights: OpWeights, rng: random.Random) -> Genotype:
    """Draw an architecture by the op weights, which are not negative; a choice of zeros is drawn uniformly."""
    found: Columns = {}
    for options in _choices(space):
        shares = [math.prod(weights[kind][e][k] for (kind, e), k in option.items()) for option in options]
        found |= rng.choices(options, shares if sum(shares) else None)[0]
    return _genotype(space, found)


def likeliest(space: SearchSpace, weights: OpWeights, count: int) -> list[Genotype]:
    """Return the `count` architectures of largest probability, the largest first; of equals the first in order."""
    best: list[tuple[float, Columns]] = [(0.0, {})]
    for options in _choices(space):
        scored = [(sum(_log(weights[kind][e][k]) for (kind, e), k in option.items()), option) for option in options]
        pairs = ((one + two, had | more) for (one, had), (two, more) in product(best, scored))
        best = heapq.nlargest(count, pairs, key=lambda pair: pair[0])
    return [_genotype(space, found) for _, found in best]


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf


def _choices(space: SearchSpace) -> Iterator[list[Columns]]:
    """Yield the options of every choice that bears on no other one."""
    for kind, cell in space.cells.items():
        columns = space.candidates(cell)
        for group in cell.groups():
            kept = cell.kept(group)
            parts = [[e] for e in group] if kept == len(group) else [group]
            for part in parts:
                yield [
                    {(kind, e): k for e, k in zip(edges, chosen, strict=True)}
                    for edges in combinations(part, min(kept, len(part)))
                    for chosen in product(*(columns[e] for e in edges))
                ]


def _genotype(space: SearchSpace, found: Columns) -> Genotype:
    return space.choose({k: [found.get((k, e)) for e in range(len(c.edges))] for k, c in space.cells.items()})
