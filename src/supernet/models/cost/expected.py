"""The cost that is expected of an architecture whose operations are drawn: what a search is penalised by.

Every edge draws one operation, independently of the others, with the probabilities that its op weights are in
proportion to. The mean of a cost that is a sum over the edges is the sum of the edges' means, as in ProxylessNAS (Cai
et al., ICLR 2019, section 3.3). A table's latency is no such sum: all its architectures are averaged, each with the
probability of being drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError, unknown
from supernet.models.cost.best import FeasibleSet
from supernet.models.cost.count import Prices
from supernet.models.cost.latency import Tabulated, tabulated
from supernet.spaces.search_space import SearchSpace

_COUNTED = ("flops", "params")  # fields of Cost
_MEASURED = "latency"

Real = NDArray[np.float64]


class Expected:
    """The expected cost of an architecture that is drawn by op weights, as a share of the largest cost there is.

    `name` says which cost, of the networks that `feasible` is for:

    - "flops" or "params": the whole network's. Every edge of a cell counts, also where an architecture keeps few.
    - "latency": the sum of what the operations take on their own, measured on the device of `feasible`. What is not
      searched, and what operations do to one another, is not in it.
    - a latency of the space's table, such as "latency_pixel3_ms": the mean over all architectures, exactly. One that
      was not measured counts as the mean of those that were.

    Raises UserError for another name, and for the first two in a space where a cost is no sum over the edges.
    """

    def __init__(self, feasible: FeasibleSet, name: str) -> None:
        known = [*_COUNTED, _MEASURED, *tabulated(feasible.space)]
        if name not in known:
            raise unknown(f"cost of space '{feasible.space.name}':", name, known)
        if name in _COUNTED and not feasible.space.has_additive_cost:
            raise UserError(
                f"the {name} expected in space '{feasible.space.name}' are not known: the output of its cells depends on "
                f"which nodes an architecture reads; take '{_MEASURED}'"
            )
        self._sizes = {kind: [len(edge.ops) for edge in cell.edges] for kind, cell in feasible.space.cells.items()}
        self._feasible, self._name = feasible, name

    def __call__(self, weights: Mapping[str, Sequence[Sequence[float]]]) -> float:
        """Return the expected cost divided by the largest, 0 to 1.

        `weights[kind]` has a row per edge and a column per candidate; columns past an edge's candidates are ignored. A
        row, not negative, need not sum to 1; one of zeros counts as uniform.
        """
        shares = [
            _shares(row[:size])
            for kind, sizes in self._sizes.items()
            for row, size in zip(weights[kind], sizes, strict=True)
        ]
        return self._mean.of(shares) / self._mean.largest

    @cached_property
    def _mean(self) -> _Sum | _Every:
        """Made when it is first asked for: by then a resumed run has got back what it has measured."""
        if self._name in _COUNTED:
            return _counted(self._feasible, self._name)
        return _measured(self._feasible) if self._name == _MEASURED else _Every(self._feasible.space, self._name)


def _shares(row: Sequence[float]) -> list[float]:
    total = math.fsum(row)
    return [float(weight) / total for weight in row] if total else [1 / len(row)] * len(row)


class _Sum:
    """A cost that adds up over the edges, beside what is `fixed`."""

    def __init__(self, costs: Sequence[Sequence[int]], fixed: int = 0) -> None:
        self._costs, self._fixed = np.array(list(chain.from_iterable(costs)), float), fixed
        self.largest = fixed + sum(map(max, costs))

    def of(self, shares: Sequence[Sequence[float]]) -> float:
        """Return the mean for one row of probabilities per edge."""
        return self._fixed + float(np.array(list(chain.from_iterable(shares))) @ self._costs)


class _Every:
    """A latency that a table has of every architecture of a space, as an array with an axis per edge."""

    def __init__(self, space: SearchSpace, field: str) -> None:
        table, cells = Tabulated(space, field), space.cells.values()
        columns = product(*(product(*(range(len(edge.ops)) for edge in cell.edges)) for cell in cells))
        found = np.array([table.ms(space.choose(dict(zip(space.cells, each, strict=True)))) for each in columns])
        self._ms: Real = np.where(np.isnan(found), np.nanmean(found), found)
        self.largest = float(self._ms.max())

    def of(self, shares: Sequence[Sequence[float]]) -> float:
        """Return the mean for one row of probabilities per edge: the edges are averaged out one after another."""
        left = self._ms
        for row in shares:
            left = np.array(row) @ left.reshape(len(row), -1)
        return float(left[0])


def _counted(feasible: FeasibleSet, name: str) -> _Sum:
    prices = Prices(feasible.space, feasible.network_size)
    costs = [
        [getattr(prices.of(kind, e, op), name) for op in edge.ops]
        for kind, cell in feasible.space.cells.items()
        for e, edge in enumerate(cell.edges)
    ]
    return _Sum(costs, getattr(prices.fixed, name))


def _measured(feasible: FeasibleSet) -> _Sum:
    return _Sum(list(chain.from_iterable(feasible.measuring.alone[kind] for kind in feasible.space.cells)))
