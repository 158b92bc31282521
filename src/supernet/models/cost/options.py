"""OptionGroups: the architectures of a space as one option from each of several groups, and sums over operations.

A sum over an architecture's operations, of op scores or of costs, is then a sum over its options, so the best
architecture within limits is the solution of a multiple-choice knapsack problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product

import numpy as np

from supernet.models.cost import knapsack
from supernet.models.cost.knapsack import Integers
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.paths import is_wasteful
from supernet.spaces.search_space import SearchSpace

PerOperation = Mapping[str, Sequence[Sequence[int]]]  # an integer per kind of cell, edge and column
Option = tuple[tuple[str, int, int], ...]  # operations, each by kind of cell, edge and column

_MANY = 50_000  # architectures of a cell that are too many to list
_BITS = 50  # of the largest op score that count


class OptionGroups:
    """The groups of a space; an architecture takes one option of each.

    A group is an edge, with its operations as options. Where a node or a branch keeps only some of its edges, the group
    is that node or branch, and an option is a choice of edges with an operation on each. Where an operation could lie
    on no path through its cell, the group is the whole cell, without the architectures that waste an operation, unless
    the cell has more than 50,000 architectures, or `wasteful` ones are wanted, too.
    """

    def __init__(self, space: SearchSpace, *, wasteful: bool = False) -> None:
        self.space = space
        of_cell = free_groups if wasteful else _cell_groups
        self.groups = [group for kind, cell in space.cells.items() for group in of_cell(space, kind, cell)]
        self._numbers = numbered(space, self.groups)

    def best(self, gains: PerOperation, limited: Sequence[tuple[PerOperation, int]] = ()) -> Genotype:
        """Return the architecture with the largest sum of gains whose sum of each cost is within its limit.

        There must be one within the limits. Among equal gains the lowest costs win, the first cost first.
        """
        sums = [self.sums(cost) for cost, _ in limited]
        costs = [
            np.array([each[g] for each in sums], np.int64).reshape(len(sums), len(group)).T
            for g, group in enumerate(self.groups)
        ]
        limits = np.array([limit for _, limit in limited], np.int64)
        options = knapsack.solve(self.sums(gains), costs, limits)
        assert options is not None
        return self.genotype(options)

    def genotype(self, options: Iterable[int]) -> Genotype:
        """Return the architecture with these options, one of each group."""
        columns: dict[str, list[int | None]] = {kind: [None] * len(c.edges) for kind, c in self.space.cells.items()}
        for group, option in zip(self.groups, options, strict=True):
            for kind, edge, column in group[option]:
                columns[kind][edge] = column
        return self.space.choose(columns)

    def architectures(self) -> Integers:
        """Return the options of every architecture, (architectures, groups), the first options first."""
        return np.array(list(product(*(range(len(group)) for group in self.groups))))

    def totals(self, values: PerOperation, architectures: Integers) -> Integers:
        """Return the sum of the values over the operations of each architecture; `architectures` as from above."""
        sums = self.sums(values)
        return sum((sums[g][architectures[:, g]] for g in range(len(sums))), np.zeros(len(architectures), np.int64))

    def sums(self, values: PerOperation) -> list[Integers]:
        """Return for each group the sums (options,) of the values over the operations of each option."""
        flat = np.array([*(value for kind in self.space.cells for row in values[kind] for value in row), 0], np.int64)
        return [flat[numbers].sum(1) for numbers in self._numbers]

    def integers(self, op_scores: Mapping[str, Sequence[Sequence[float]]]) -> PerOperation:
        """Return op scores in units of 2**-50 of the largest, so that their sums are exact.

        NaN and minus infinity become less than all other scores.
        """
        rows = {
            kind: [row[: len(edge.ops)] for row, edge in zip(op_scores[kind], cell.edges, strict=True)]
            for kind, cell in self.space.cells.items()
        }
        sizes = [abs(score) for edges in rows.values() for row in edges for score in row if math.isfinite(score)]
        shift = _BITS - math.frexp(max(sizes, default=0.0))[1]
        return {kind: [[_integer(score, shift) for score in row] for row in edges] for kind, edges in rows.items()}


def total(space: SearchSpace, values: PerOperation, genotype: Genotype) -> int:
    """Return the sum of the values over the operations of one architecture."""
    return sum(
        values[kind][edge][column]
        for kind, columns in space.columns(genotype).items()
        for edge, column in enumerate(columns)
        if column is not None
    )


def negative(values: PerOperation) -> PerOperation:
    """Return the negative values, whose largest sum is the smallest sum of the values."""
    return {kind: [[-value for value in row] for row in edges] for kind, edges in values.items()}


def narrowed(values: PerOperation, space: SearchSpace, narrower: SearchSpace) -> PerOperation:
    """Return the values of a space's operations in the columns of a narrower space."""
    found = {}
    for kind, cell in narrower.cells.items():
        rows = zip(values[kind], space.cells[kind].edges, cell.edges, strict=True)
        found[kind] = [[row[edge.ops.index(op)] for op in fewer.ops] for row, edge, fewer in rows]
    return found


def _integer(score: float, shift: int) -> int:
    if math.isfinite(score):
        return round(math.ldexp(score, shift))
    return 2 << _BITS if score == math.inf else -(2 << _BITS)


def numbered(space: SearchSpace, groups: Iterable[Sequence[Option]]) -> list[Integers]:
    """Return each group as an array, a row per option: the numbers of its operations among all, -1 for none."""
    edges = [(kind, e, len(edge.ops)) for kind, cell in space.cells.items() for e, edge in enumerate(cell.edges)]
    operations = [(kind, e, column) for kind, e, count in edges for column in range(count)]
    numbers = {operation: number for number, operation in enumerate(operations)}
    return [_padded([[numbers[o] for o in option] for option in group]) for group in groups]


def _padded(rows: Sequence[Sequence[int]]) -> Integers:
    """Return the rows as one array, shorter ones filled up with -1."""
    longest = max(map(len, rows))
    return np.array([[*row, *[-1] * (longest - len(row))] for row in rows], np.int64)


def _cell_groups(space: SearchSpace, kind: str, cell: Cell) -> list[list[Option]]:
    groups = free_groups(space, kind, cell)
    nothing_wasted = cell.output == "unused" or (
        cell.output == "concat" and cell.keep is not None and not cell.may_be_bare
    )
    has_zero = any(space.primitive(op).zero for edge in cell.edges for op in edge.ops)
    nothing_wasted |= cell.is_chain and not cell.may_be_bare and not has_zero
    if nothing_wasted or math.prod(len(group) for group in groups) > _MANY:
        return groups
    options = [tuple(chain.from_iterable(parts)) for parts in product(*groups)]
    return [[option for option in options if not is_wasteful(space, cell, _choices(cell, option))] or options]


def free_groups(space: SearchSpace, kind: str, cell: Cell) -> list[list[Option]]:
    """Return the groups of a cell, the architectures that waste an operation included."""
    operations = [[(kind, e, k) for k in columns] for e, columns in enumerate(space.candidates(cell))]
    if cell.keep is None and cell.branches == 1:
        return [[(operation,) for operation in edge] for edge in operations]
    kept = map(cell.ways, cell.groups())
    return [[option for edges in ways for option in product(*(operations[e] for e in edges))] for ways in kept]


def _choices(cell: Cell, option: Option) -> list[Choice]:
    edges = ((cell.edges[e], k) for _, e, k in sorted(option))
    return [Choice(edge.target, edge.source, edge.ops[k], edge.branch) for edge, k in edges]
