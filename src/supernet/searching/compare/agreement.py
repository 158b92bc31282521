"""How decided a method is over its seeds: which operation each of them chose on an edge, and which cells they found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from supernet.searching.compare.rows import Row
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

LEFT_OUT = "left out"  # in place of the operation of an edge that an architecture has not


@dataclass(frozen=True)
class Agreement:
    """Of one method: per edge how many of the seeds chose which operation, and how many different cells there are."""

    edges: Mapping[str, Mapping[str, int]]
    seeds: int
    cells: int

    @property
    def unanimous(self) -> int:
        """The number of edges on which all seeds chose the same."""
        return sum(len(found) == 1 for found in self.edges.values())

    @property
    def share(self) -> float:
        """The mean share of the seeds that chose the most frequent operation of an edge."""
        return fmean(max(found.values()) / self.seeds for found in self.edges.values())

    def __str__(self) -> str:
        if self.seeds == 1:
            return "one seed alone: nothing is known of its agreement with others"
        every = "both" if self.seeds == 2 else f"all {self.seeds}"
        same = f"{every} seeds chose the same on {self.unanimous} of {len(self.edges)} edges"
        most = f"the most frequent choice on an edge has {100 * self.share:.0f} % of the seeds on average"
        return f"{same}; {most}; {self.cells} different cell{'s' * (self.cells != 1)}"


def agreement(space: SearchSpace, found: Sequence[Genotype]) -> Agreement:
    """Return how far architectures of a space agree, at least one."""
    edges = {name: Counter[str]() for name, *_ in _edges(space)}
    for genotype in found:
        chosen = {
            (kind, choice.target, choice.source, choice.branch): choice.op
            for kind in space.cells
            for choice in genotype[kind]
        }
        for name, place in _edges(space):
            edges[name][chosen.get(place, LEFT_OUT)] += 1
    return Agreement(edges, len(found), len(set(found)))


def _edges(space: SearchSpace) -> Iterable[tuple[str, tuple[str, int, int, int]]]:
    """Yield the name of each edge, and its place in the architecture."""
    for kind, cell in space.cells.items():
        for edge in cell.edges:
            name = f"{kind} {edge}" if len(space.cells) > 1 else str(edge)
            yield name, (kind, edge.target, edge.source, edge.branch)


def found_by(rows: Iterable[Row]) -> list[tuple[tuple[str, str], dict[str, list[int]]]]:
    """Return every architecture that was found, with its space before it and the seeds of each row that found it.

    The most frequent is the first.
    """
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in rows:
        for seed, result in row.results.items() if row.searched else ():
            found.setdefault((row.space, result.architecture), {}).setdefault(row.label, []).append(seed)
    return sorted(found.items(), key=lambda pair: -sum(map(len, pair[1].values())))
