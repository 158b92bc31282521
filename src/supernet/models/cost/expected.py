"""The expected cost of an architecture whose operations are drawn by op weights, with gradient to the op weights.

Every edge draws one operation, independently of the others and in proportion to its op weights. If a cost is a sum over
the edges, so is its mean, as in ProxylessNAS (Cai et al., ICLR 2019, section 3.3). The latency in a table is not a sum:
its mean is taken over all architectures, weighted by their probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.errors import UserError, unknown
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.knapsack import Integers
from supernet.models.cost.latency import NANOSECONDS, TabulatedLatency, latency_fields
from supernet.models.cost.options import free_groups, numbered
from supernet.spaces.genotype import Genotype

_COUNTED = ("flops", "params")  # fields of Cost
_MEASURED = "latency"
_Placed = tuple[Tensor, Tensor, list[Tensor], Tensor | None]  # costs, prices, options, which costs are missing


class Expected:
    """The expected cost of an architecture that is drawn by op weights.

    `name` is a cost of the networks that `feasible` is about:

    - "flops" or "params": of the whole network, with every edge of a cell, also where an architecture keeps only some.
    - "latency": the sum of the latencies of the operations on their own in ms, measured on the device of `feasible`. It
      leaves out the rest of the network and all overlap.
    - a latency in the space's table, such as "latency_pixel3_ms": the exact mean over all architectures, where a
      missing latency counts as the mean of the others.

    Raises UserError for an unknown name, and for "flops" and "params" in a space whose costs are not sums over edges.
    """

    def __init__(self, feasible: FeasibleSet, name: str) -> None:
        space = feasible.space
        names = [*_COUNTED, _MEASURED, *latency_fields(space)]
        if name not in names:
            raise unknown(f"cost of space '{space.name}':", name, names)
        if name in _COUNTED and not space.has_additive_cost:
            raise UserError(
                f"the {name} expected in space '{space.name}' are not known: the output of its cells depends "
                f"on which nodes an architecture reads; take '{_MEASURED}'"
            )
        self.name, self._feasible, self._space = name, feasible, space
        edges = ((kind, e, edge) for kind, cell in space.cells.items() for e, edge in enumerate(cell.edges))
        self._edges = [(kind, number, len(edge.ops)) for kind, number, edge in edges]
        self._placed: dict[tuple[torch.device, torch.dtype], _Placed] = {}

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the expected cost, a scalar.

        `weights[kind]` has a row per edge and a column per candidate; columns beyond an edge's candidates are ignored.
        Rows must not be negative and need not sum to 1; a row of zeros counts as uniform.
        """
        return self._mean([_normalised(row) for row in self._rows(weights)])

    @torch.no_grad()
    def derived(self, weights: Mapping[str, Tensor], tilt: float = 0.0) -> Tensor:
        """Return the cost, a scalar, of the architecture with the largest sum of these weights, as tensors alone.

        A recorded step of the search may therefore ask for it; its latency is that of `__call__`, not measured, and
        infinite where the table has none. With a `tilt`, the weight of the operation that costs most counts by that
        share more, and others by less, as they cost.
        """
        rows = self._rows(weights)
        _, prices, options, _ = self._at(rows[0])
        scores = torch.cat(rows) * (1 + tilt * prices)
        scores = torch.cat([scores, scores.new_zeros(1)])
        chosen = torch.zeros_like(scores)
        for numbers in options:
            largest = scores[numbers].sum(1).argmax(0, keepdim=True)  # as an index without a dimension it would be read
            chosen.index_fill_(0, numbers.index_select(0, largest)[0], 1)
        return self._only(torch.split(chosen[:-1], [size for _, _, size in self._edges]))

    @torch.no_grad()
    def alone(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the cost, a scalar, of the architecture whose operations have weight 1, and all others 0.

        Its latency is that of `__call__`, not measured, and infinite where the table has none.
        """
        return self._only(self._rows(weights))

    def _rows(self, weights: Mapping[str, Tensor]) -> list[Tensor]:
        return [weights[kind][edge][:size] for kind, edge, size in self._edges]

    def _mean(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the mean cost where each edge has its operations with the probabilities in its row."""
        costs = self._at(rows[0])[0]
        if self._is_sum:
            return self._fixed + torch.cat(list(rows)) @ costs
        return _averaged(costs, rows)

    def _only(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the cost where one operation of each edge has probability 1, infinite where the table has none."""
        cost, missing = self._mean(rows), self._at(rows[0])[3]
        return cost if missing is None else cost.masked_fill(_averaged(missing, rows) > 0, torch.inf)

    def of(self, genotype: Genotype) -> float:
        """Return the cost of the network of an architecture, NaN if the table has none; measures it if need be."""
        if self.name in _COUNTED:
            return float(getattr(self._costs.total(genotype), self.name))
        return (self._feasible.measuring if self.name == _MEASURED else self._tabulated).ms(genotype)

    def _at(self, like: Tensor) -> _Placed:
        """Return all that is placed on the device of `like`: copied once, as a recorded step cannot wait."""
        key = like.device, like.dtype
        if key not in self._placed:
            options = [torch.from_numpy(each).to(like.device) for each in self._options]
            costs, prices = (torch.from_numpy(each).to(like) for each in (self._array, self._prices))
            missing = None if self._is_sum or not self._missing.any() else torch.from_numpy(self._missing).to(like)
            self._placed[key] = costs, prices, options, missing
        return self._placed[key]

    @cached_property
    def _prices(self) -> NDArray[np.float64]:
        """What each candidate costs of itself, as a share of the most; of a table, by its mean over all others."""
        costs, sizes = self._array, [size for _, _, size in self._edges]
        if not self._is_sum:
            whole = costs.reshape(sizes)
            axes = range(len(sizes))
            means = [whole.mean(axis=tuple(other for other in axes if other != axis)) for axis in axes]
            costs = np.concatenate([mean - mean.min() for mean in means])
        return costs / (costs.max() or 1.0)

    @cached_property
    def _options(self) -> list[Integers]:
        """The options of each group, as numbers of operations."""
        groups = (group for kind, cell in self._space.cells.items() for group in free_groups(self._space, kind, cell))
        return numbered(self._space, groups)

    @property
    def _is_sum(self) -> bool:
        return self.name in (*_COUNTED, _MEASURED)

    @property
    def _fixed(self) -> float:
        return float(getattr(self._costs.fixed, self.name)) if self.name in _COUNTED else 0.0

    @cached_property
    def _array(self) -> NDArray[np.float64]:
        """The cost of each candidate of each edge or, of a table, of each architecture.

        Made at the first call, after a resumed run has restored its measurements.
        """
        if self._is_sum:
            measured = self.name == _MEASURED
            costs = self._feasible.measuring.per_operation if measured else self._costs.per_operation(self.name)
            flat = [costs[kind][edge][column] for kind, edge, size in self._edges for column in range(size)]
            return np.array(flat, np.float64) / (NANOSECONDS if measured else 1)
        return np.where(self._missing, np.nanmean(self._all_ms), self._all_ms)

    @property
    def _missing(self) -> NDArray[np.bool_]:
        """Of each architecture, whether the table has no latency for it."""
        return np.isnan(self._all_ms)

    @cached_property
    def _all_ms(self) -> NDArray[np.float64]:
        """The latency of each architecture in the table, NaN for a missing one."""
        cells = self._space.cells
        columns = product(*(product(*(range(len(edge.ops)) for edge in cell.edges)) for cell in cells.values()))
        each = [self._tabulated.ms(self._space.choose(dict(zip(cells, some, strict=True)))) for some in columns]
        return np.array(each, np.float64)

    @cached_property
    def _costs(self) -> OperationCosts:
        return OperationCosts(self._space, self._feasible.network_size)

    @cached_property
    def _tabulated(self) -> TabulatedLatency:
        return TabulatedLatency(self._space, self.name)


def _averaged(costs: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Return the mean of the costs of all architectures, one axis after another averaged out."""
    for row in rows:
        costs = row @ costs.reshape(len(row), -1)
    return costs[0]


def _normalised(row: Tensor) -> Tensor:
    total = row.sum()
    return torch.where(total > 0, row / torch.where(total > 0, total, 1), 1 / len(row))
