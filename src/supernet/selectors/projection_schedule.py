"""Agenda: in what order the edges of a space are decided, and then the nodes where few of them are kept.

Where nodes have branches, it is these that keep one edge each, and "node" is said of a branch of one.

As DARTS-PT does it (Wang et al., ICLR 2021, released code): the order is random; kinds of cell are decided side by
side, one edge of each at a time; the nodes follow when every edge has its operation. Kinds of a single edge, as the
positions of a macro space, are decided one after the other, as if they were the edges of one cell.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from supernet.spaces.search_space import SearchSpace


@dataclass(frozen=True)
class Decision:
    """One decision: which operation an edge has, or which of several edges a node keeps."""

    kind: str
    edges: tuple[int, ...]

    @property
    def of_node(self) -> bool:
        """Whether it is about what a node keeps."""
        return len(self.edges) > 1


Step = tuple[Decision, ...]
"""FixedEdges that are taken one after the other, with no training in between."""


def projection_schedule(space: SearchSpace, seed: int) -> list[Step]:
    """Return all decisions that make an architecture, in the order of that seed."""
    rng = random.Random(seed)
    single = [kind for kind, cell in space.cells.items() if len(cell.edges) == 1]
    tracks = [[kind] for kind in space.cells if kind not in single] + ([single] if single else [])

    def operations(kind: str) -> Iterable[Decision]:
        return (Decision(kind, (edge,)) for edge in range(len(space.cells[kind].edges)))

    def nodes(kind: str) -> Iterable[Decision]:
        cell = space.cells[kind]
        return (Decision(kind, tuple(group)) for group in cell.groups() if len(group) > cell.kept(group))

    return [*_together(tracks, rng, operations), *_together(tracks, rng, nodes)]


def _together(
    tracks: Sequence[Sequence[str]], rng: random.Random, items: Callable[[str], Iterable[Decision]]
) -> list[Step]:
    """Return the items of all kinds in random order, those of each track one after the other."""
    shuffled = []
    for kinds in tracks:
        track = [item for kind in kinds for item in items(kind)]
        rng.shuffle(track)
        shuffled.append(track)
    return [tuple(item for item in moment if item is not None) for moment in zip_longest(*shuffled)]
