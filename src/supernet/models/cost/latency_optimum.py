"""The best architecture within a limit on latency, which is not a sum over operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from supernet.models.cost.latency import TabulatedLatency
from supernet.models.cost.options import OptionGroups, PerOperation, total
from supernet.spaces.genotype import Genotype

_HALVINGS = 14  # of the range of limits on the sum of latencies, each with a measurement


class TabulatedOptimum:
    """All architectures of a space that are within limits on sums of costs, with their latencies from a table."""

    def __init__(
        self, groups: OptionGroups, limited: Sequence[tuple[PerOperation, int]], latency: TabulatedLatency
    ) -> None:
        architectures = groups.architectures()
        for cost, most in limited:
            architectures = architectures[groups.totals(cost, architectures) <= most]
        ms = np.array([latency.ms(groups.genotype(options)) for options in architectures])
        self._groups, self._architectures, self._ms = groups, architectures, np.where(np.isnan(ms), np.inf, ms)

    def best(self, gains: PerOperation, ms: float) -> Genotype:
        """Return the architecture with the largest sum of gains and a latency of at most `ms`, the first of equals."""
        fast = self._architectures[self._ms <= ms]
        return self._groups.genotype(fast[self._groups.totals(gains, fast).argmax()])

    def fastest(self) -> Genotype:
        """Return the architecture with the lowest latency, the first of equals."""
        return self._groups.genotype(self._architectures[self._ms.argmin()])


def best_by_bisection(
    groups: OptionGroups,
    gains: PerOperation,
    limited: Sequence[tuple[PerOperation, int]],
    latencies: PerOperation,
    is_fast: Callable[[Genotype], bool],
    fastest: Genotype,
) -> Genotype:
    """Return the architecture with the largest sum of gains within a limit on the sum of its operations' `latencies`.

    Bisection raises this limit as long as `is_fast` finds the best architecture within it to be fast enough as a whole.
    `fastest` has the lowest sum and is fast enough. The sums of other costs stay within their limits, `limited`.
    """
    candidate, best = groups.best(gains, limited), fastest
    if is_fast(candidate):
        return candidate
    low, high = (total(groups.space, latencies, genotype) for genotype in (best, candidate))
    for _ in range(_HALVINGS):
        middle = (low + high) // 2
        candidate = groups.best(gains, [*limited, (latencies, middle)])
        if is_fast(candidate):
            best, low = candidate, middle + 1
        else:
            high = total(groups.space, latencies, candidate) - 1
        if low > high:
            break
    return best
