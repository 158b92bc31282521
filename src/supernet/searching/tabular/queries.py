"""Queries to a table within a budget, and random search by queries."""

from __future__ import annotations

import random

from supernet.spaces.tables import Table
from supernet.spaces.tokens import Sequences, Tokens


class Queries:
    """A budget of queries for the fitness of architectures, a field of the table; repeated queries count, too."""

    def __init__(self, sequences: Sequences, table: Table, fitness: str, budget: int) -> None:
        self.sequences, self.budget = sequences, budget
        self._table, self._fitness = table, table.column(fitness)
        self.indices: list[int] = []

    @property
    def left(self) -> int:
        """The number of queries left."""
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
        """Return the index of the fittest architecture after each query of the budget, the first among equals.

        A search that ended early keeps its last one for the rest of the budget.
        """
        best: list[int] = []
        for index in self.indices:
            best.append(index if not best or self._fitness[index] > self._fitness[best[-1]] else best[-1])
        return best + best[-1:] * self.left


def at_random(queries: Queries, rng: random.Random) -> None:
    """Query architectures drawn uniformly and independently."""
    while queries.left:
        queries.ask(queries.drawn(rng))
