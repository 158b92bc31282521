"""Drawing architectures by op weights, and finding the likeliest ones.

The probability of an architecture is proportional to the product of the op weights of its operations. Where a cell
keeps every edge, each edge draws its operation independently; where a node keeps few edges, the edges are drawn
together with their operations. A node that may keep fewer edges keeps as many as it may: no op weight speaks for fewer.
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
"""Per kind of cell one row per edge and one column per candidate; columns beyond an edge's candidates are ignored."""

Columns = dict[tuple[str, int], int]  # (kind, edge) to the column of its operation, for the edges that are kept


def draws(space: SearchSpace, weights: OpWeights, rng: random.Random) -> Iterator[Genotype]:
    """Yield architectures without end, drawn by non-negative op weights.

    A choice whose weights are all 0 is drawn uniformly.
    """
    choices = [(options, _shares(options, weights)) for options in _independent_choices(space)]
    while True:
        columns: Columns = {}
        for options, shares in choices:
            columns |= rng.choices(options, shares)[0]
        yield _genotype(space, columns)


def _shares(options: Sequence[Columns], weights: OpWeights) -> list[float] | None:
    """Return the share of each option, None if all are 0."""
    shares = [math.prod(weights[kind][e][k] for (kind, e), k in option.items()) for option in options]
    return shares if sum(shares) else None


def likeliest(space: SearchSpace, weights: OpWeights, count: int) -> list[Genotype]:
    """Return the `count` most probable architectures, most probable first; ties are in the order of the columns."""
    best: list[tuple[float, Columns]] = [(0.0, {})]
    for options in _independent_choices(space):
        scored = [(sum(_log(weights[kind][e][k]) for (kind, e), k in option.items()), option) for option in options]
        pairs = ((one + two, had | more) for (one, had), (two, more) in product(best, scored))
        best = heapq.nlargest(count, pairs, key=lambda pair: pair[0])
    return [_genotype(space, columns) for _, columns in best]


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf


def _independent_choices(space: SearchSpace) -> Iterator[list[Columns]]:
    """Yield the options of every choice that is independent of all others."""
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


def _genotype(space: SearchSpace, columns: Columns) -> Genotype:
    return space.choose({k: [columns.get((k, e)) for e in range(len(c.edges))] for k, c in space.cells.items()})
