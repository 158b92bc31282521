"""Sums over the operations of an architecture: what is best by one within others, and what all of a space come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations, product

import numpy as np

from supernet.models.cost import knapsack
from supernet.models.cost.knapsack import Whole
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.paths import is_wasteful
from supernet.spaces.search_space import SearchSpace

Table = Mapping[str, Sequence[Sequence[int]]]  # a whole number for each kind of cell, edge and column
Option = tuple[tuple[str, int, int], ...]  # kind of cell, edge and column of each operation that it takes

_MANY = 50_000  # architectures of a cell that are not looked at one by one
_BITS = 50  # of the largest strength that count


class Sums:
    """A space, taken apart into groups of options: an architecture takes one option of each.

    A group is an edge, or, where a node or a branch of it keeps few of its edges, that: which edges, with which
    operations. Where an operation could be on no path through its cell, the group is the whole cell without the
    architectures that waste one, unless the cell has too many.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.groups = [group for kind, cell in space.cells.items() for group in _groups(space, kind, cell)]

    def optimum(self, gain: Table, within: Sequence[tuple[Table, int]]) -> Genotype | None:
        """Return the architecture with the largest sum of gains, the sum of each table within its limit; None if none.

        Among equal gains the lower sums win, that of the first table first.
        """
        gains = [_column(gain, group) for group in self.groups]
        costs = [
            np.array([_column(table, group) for table, _ in within], np.int64).reshape(len(within), len(group)).T
            for group in self.groups
        ]
        found = knapsack.best(gains, costs, np.array([limit for _, limit in within], np.int64))
        return None if found is None else self.genotype(found)

    def genotype(self, options: Iterable[int]) -> Genotype:
        """Return the architecture that takes these options, one of each group."""
        columns: dict[str, list[int | None]] = {kind: [None] * len(c.edges) for kind, c in self.space.cells.items()}
        for group, option in zip(self.groups, options, strict=True):
            for kind, edge, column in group[option]:
                columns[kind][edge] = column
        return self.space.choose(columns)

    def every(self) -> Whole:
        """Return the options of every architecture, (architectures, groups), the first options first."""
        return np.array(list(product(*(range(len(group)) for group in self.groups))))

    def totals(self, table: Table, every: Whole) -> Whole:
        """Return the sum of a table for architectures given as options, (architectures, groups)."""
        sums = np.zeros(len(every), np.int64)
        for number, group in enumerate(self.groups):
            sums += _column(table, group)[every[:, number]]
        return sums

    def total(self, table: Table, genotype: Genotype) -> int:
        """Return the sum of a table for an architecture."""
        return sum(
            table[kind][edge][column]
            for kind, columns in self.space.columns(genotype).items()
            for edge, column in enumerate(columns)
            if column is not None
        )

    def whole(self, strength: Mapping[str, Sequence[Sequence[float]]]) -> Table:
        """Return strengths as whole numbers, in units of 2**-50 of the largest: their sums are exact.

        What is no number counts as less than all others.
        """
        cells = self.space.cells.items()
        rows = {
            kind: [row[: len(e.ops)] for row, e in zip(strength[kind], cell.edges, strict=True)] for kind, cell in cells
        }
        sizes = [abs(value) for edges in rows.values() for row in edges for value in row if math.isfinite(value)]
        shift = _BITS - math.frexp(max(sizes, default=0.0))[1]
        return {kind: [[_whole(value, shift) for value in row] for row in edges] for kind, edges in rows.items()}


def negative(table: Table) -> Table:
    """Return the table whose largest sum is the least of this one."""
    return {kind: [[-value for value in row] for row in edges] for kind, edges in table.items()}


def _whole(value: float, shift: int) -> int:
    if math.isfinite(value):
        return round(math.ldexp(value, shift))
    return 2 << _BITS if value == math.inf else -(2 << _BITS)


def _column(table: Table, group: Sequence[Option]) -> Whole:
    return np.array([sum(table[kind][e][k] for kind, e, k in option) for option in group], np.int64)


def _groups(space: SearchSpace, kind: str, cell: Cell) -> list[list[Option]]:
    parts = _parts(space, kind, cell)
    all_on_paths = cell.output == "unused" or (cell.output == "concat" and cell.keep is not None)
    if all_on_paths or math.prod(len(part) for part in parts) > _MANY:
        return parts
    whole = [tuple(chain.from_iterable(options)) for options in product(*parts)]
    return [[option for option in whole if not is_wasteful(space, cell, _choices(cell, option))] or whole]


def _choices(cell: Cell, option: Option) -> list[Choice]:
    taken = ((cell.edges[e], k) for _, e, k in sorted(option))
    return [Choice(edge.target, edge.source, edge.ops[k], edge.branch) for edge, k in taken]


def _parts(space: SearchSpace, kind: str, cell: Cell) -> list[list[Option]]:
    taken = [[(kind, e, k) for k in columns] for e, columns in enumerate(space.candidates(cell))]
    if cell.keep is None and cell.branches == 1:
        return [[(operation,) for operation in edge] for edge in taken]
    return [
        [option for edges in combinations(group, cell.kept(group)) for option in product(*(taken[e] for e in edges))]
        for group in cell.groups()
    ]
