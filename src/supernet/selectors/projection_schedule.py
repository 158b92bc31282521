"""The projection schedule: the order in which selection by perturbation decides edges, and then nodes.

As in DARTS-PT (Wang et al., ICLR 2021, released code), the order is random, and kinds of cell are decided side by side,
one edge of each kind per step. When every edge has its operation, the nodes follow that keep fewer edges than they
have; in a space with branches, each branch of a node is decided as a node. Kinds with a single edge or a chain of
edges, such as the positions of a macro space, are decided one after another, like the edges of one cell. An edge with a
single candidate is no decision.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from supernet.spaces.search_space import SearchSpace


@dataclass(frozen=True)
class Decision:
    """The operation of one edge, or the choice among several edges of one node."""

    kind: str
    edges: tuple[int, ...]

    @property
    def of_node(self) -> bool:
        """Whether the decision is about the edges that a node keeps."""
        return len(self.edges) > 1


Step = tuple[Decision, ...]
"""Decisions that are taken one after another, without training in between."""


def projection_schedule(space: SearchSpace, seed: int) -> list[Step]:
    """Return all decisions that make up an architecture, in the random order of `seed`; none in a space of only one."""
    rng = random.Random(seed)
    chains = [kind for kind, cell in space.cells.items() if cell.is_chain]
    tracks = [[kind] for kind in space.cells if kind not in chains] + ([chains] if chains else [])

    def operations(kind: str) -> Iterable[Decision]:
        candidates = space.candidates(space.cells[kind])
        return (Decision(kind, (edge,)) for edge, columns in enumerate(candidates) if len(columns) > 1)

    def nodes(kind: str) -> Iterable[Decision]:
        cell = space.cells[kind]
        return (Decision(kind, tuple(group)) for group in cell.groups() if len(group) > cell.kept(group))

    return [*_side_by_side(tracks, rng, operations), *_side_by_side(tracks, rng, nodes)]


def _side_by_side(
    tracks: Sequence[Sequence[str]], rng: random.Random, decisions: Callable[[str], Iterable[Decision]]
) -> list[Step]:
    """Return steps of one decision from each track, whose kinds of cell have their decisions in one random order."""
    shuffled = []
    for kinds in tracks:
        track = [decision for kind in kinds for decision in decisions(kind)]
        rng.shuffle(track)
        shuffled.append(track)
    return [tuple(decision for decision in step if decision is not None) for step in zip_longest(*shuffled)]
