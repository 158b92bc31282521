"""The expected cost of an architecture whose operations are drawn by op weights, as a penalty in a search.

Every edge draws one operation, independently of the others and in proportion to its op weights. If a cost is a sum over
the edges, so is its mean, as in ProxylessNAS (Cai et al., ICLR 2019, section 3.3). The latency in a table is not a sum:
its mean is taken over all architectures, weighted by their probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError, unknown
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import TabulatedLatency, latency_fields
from supernet.spaces.search_space import SearchSpace

_COUNTED = ("flops", "params")  # fields of Cost
_MEASURED = "latency"

Probabilities = Sequence[Sequence[float]]  # of the candidates of every edge


class Expected:
    """The expected cost of an architecture that is drawn by op weights, as a share of the largest possible cost.

    `name` is a cost of the networks that `feasible` is about:

    - "flops" or "params": of the whole network, with every edge of a cell, also where an architecture keeps only some.
    - "latency": the sum of the latencies of the operations on their own, measured on the device of `feasible`. It
      leaves out the rest of the network and all overlap.
    - a latency in the space's table, such as "latency_pixel3_ms": the exact mean over all architectures, where a
      missing latency counts as the mean of the others.

    Raises UserError for an unknown name, and for "flops" and "params" in a space whose costs are not sums over edges.
    """

    def __init__(self, feasible: FeasibleSet, name: str) -> None:
        names = [*_COUNTED, _MEASURED, *latency_fields(feasible.space)]
        if name not in names:
            raise unknown(f"cost of space '{feasible.space.name}':", name, names)
        if name in _COUNTED and not feasible.space.has_additive_cost:
            raise UserError(
                f"the {name} expected in space '{feasible.space.name}' are not known: the output of its cells depends "
                f"on which nodes an architecture reads; take '{_MEASURED}'"
            )
        self._sizes = {kind: [len(edge.ops) for edge in cell.edges] for kind, cell in feasible.space.cells.items()}
        self._feasible, self._name = feasible, name

    def __call__(self, weights: Mapping[str, Sequence[Sequence[float]]]) -> float:
        """Return the expected cost divided by the largest cost, 0 to 1.

        `weights[kind]` has a row per edge and a column per candidate; columns beyond an edge's candidates are ignored.
        Rows must not be negative and need not sum to 1; a row of zeros counts as uniform.
        """
        probabilities = [
            _normalised(row[:size])
            for kind, sizes in self._sizes.items()
            for row, size in zip(weights[kind], sizes, strict=True)
        ]
        return self._cost.mean(probabilities) / self._cost.largest

    @cached_property
    def _cost(self) -> _AdditiveCost | _TableCost:
        """Made at the first call, after a resumed run has restored its measurements."""
        feasible, name = self._feasible, self._name
        if name in _COUNTED:
            costs = OperationCosts(feasible.space, feasible.network_size)
            return _AdditiveCost(chain(*costs.per_operation(name).values()), getattr(costs.fixed, name))
        if name == _MEASURED:
            return _AdditiveCost(chain(*feasible.measuring.per_operation.values()))
        return _TableCost(feasible.space, name)


def _normalised(row: Sequence[float]) -> list[float]:
    total = math.fsum(row)
    return [float(weight) / total for weight in row] if total else [1 / len(row)] * len(row)


class _AdditiveCost:
    """A cost that is a sum over the edges, whose candidates cost `costs`, and a constant `fixed`."""

    def __init__(self, costs: Iterable[Sequence[int]], fixed: int = 0) -> None:
        rows = list(costs)
        self._costs, self._fixed = np.array(list(chain(*rows)), float), fixed
        self.largest = fixed + sum(map(max, rows))

    def mean(self, probabilities: Probabilities) -> float:
        return self._fixed + float(np.array(list(chain(*probabilities))) @ self._costs)


class _TableCost:
    """A latency that a table has for every architecture of a space, as an array with an axis per edge."""

    def __init__(self, space: SearchSpace, field: str) -> None:
        latency, cells = TabulatedLatency(space, field), space.cells.values()
        columns = product(*(product(*(range(len(edge.ops)) for edge in cell.edges)) for cell in cells))
        ms = np.array([latency.ms(space.choose(dict(zip(space.cells, each, strict=True)))) for each in columns])
        self._ms: NDArray[np.float64] = np.where(np.isnan(ms), np.nanmean(ms), ms)
        self.largest = float(self._ms.max())

    def mean(self, probabilities: Probabilities) -> float:
        mean = self._ms
        for row in probabilities:  # averages out one axis after another
            mean = np.array(row) @ mean.reshape(len(row), -1)
        return float(mean[0])
