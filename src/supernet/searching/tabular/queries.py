"""Queries: what a search asks of a table, so many times and no more; and the search that asks at random."""

from __future__ import annotations

import random

from supernet.spaces.tables import Table
from supernet.spaces.tokens import Sequences, Tokens


class Queries:
    """`budget` questions for the fitness, a field of the table, of architectures; asking again counts again."""

    def __init__(self, sequences: Sequences, table: Table, fitness: str, budget: int) -> None:
        self.sequences, self.budget = sequences, budget
        self._table, self._fitness = table, table.column(fitness)
        self.indices: list[int] = []

    @property
    def left(self) -> int:
        """How many more may be asked."""
        return self.budget - len(self.indices)

    def ask(self, tokens: Tokens) -> float:
        """Return the fitness of an architecture."""
        assert self.left, "a search asks only while there are queries left"
        self.indices.append(self._table.index(self.sequences.decode(tokens)))
        return float(self._fitness[self.indices[-1]])

    def drawn(self, rng: random.Random) -> Tokens:
        """Return a random architecture of the space."""
        return self.sequences.encode(self.sequences.space.sample(rng))

    def incumbents(self) -> list[int]:
        """Return after each of all queries the index of the fittest so far, the first among equals.

        A search that has ended before keeps its last one.
        """
        best: list[int] = []
        for index in self.indices:
            best.append(index if not best or self._fitness[index] > self._fitness[best[-1]] else best[-1])
        return best + best[-1:] * self.left


def at_random(queries: Queries, rng: random.Random) -> None:
    """Ask for architectures drawn uniformly, each independent of the others."""
    while queries.left:
        queries.ask(queries.drawn(rng))
