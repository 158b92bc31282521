"""FeasibleSet: which architectures of a space are within the limits, which of them is the best, and drawing one of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.models.cost.count import Prices
from supernet.models.cost.knapsack import Whole
from supernet.models.cost.latency import NANOSECONDS, Measured, Tabulated
from supernet.models.cost.limits import MEASURED, Limits
from supernet.models.cost.sums import Sums, Table, negative
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

if TYPE_CHECKING:
    import torch

_UNITS = {"params": "parameters", "flops": "FLOPs"}  # by the name of the field of Cost
_DRAWS = 10_000  # random architectures that are drawn to find one within the limits
_MEASUREMENTS = 200  # of them that are measured
_HALVINGS = 14  # of the range of latencies in which the best architecture is looked for, each with a measurement


class FeasibleSet:
    """The limits of a search, on the networks of a space in the network_size that it is for.

    A latency is measured on `device`. Raises UserError for a latency that is not known of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        network_size: NetworkSize,
        limits: Limits | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.space, self.network_size, self.limits, self.device = space, network_size, limits or Limits(), device
        self.latency: Tabulated | Measured | None = None
        if self.limits.max_latency_ms is not None:
            measured = self.limits.latency == MEASURED
            self.latency = self.measuring if measured else Tabulated(space, self.limits.latency)
        given = {"params": self.limits.max_params, "flops": self.limits.max_flops}
        self._given = [(name, limit) for name, limit in given.items() if limit is not None]

    @cached_property
    def unmeasured(self) -> FeasibleSet:
        """The same but for a latency that must be measured: what is quick enough to be asked every epoch."""
        if isinstance(self.latency, Measured):
            limits = Limits(self.limits.max_params, self.limits.max_flops)
            return FeasibleSet(self.space, self.network_size, limits, self.device)
        return self

    @cached_property
    def measuring(self) -> Measured:
        """What measures latencies on the device, limited or not."""
        return Measured(self.space, self.network_size, self.device)

    @property
    def measured(self) -> dict[str, float]:
        """The latencies that have been measured, in ms, by a text of what was; what is put in is not measured."""
        return self.measuring.known

    def allows(self, genotype: Genotype) -> bool:
        """Return whether an architecture is within the limits; a latency is measured if it has to be."""
        return self._is_small(genotype) and self._is_fast(genotype)

    def check(self) -> None:
        """Raise UserError if no architecture is within the limits; it says what the smallest there is.

        Also where a cost is no sum over the edges of an architecture: then neither the smallest nor the best is found.
        """
        if self.limits and not self.space.has_additive_cost:
            raise UserError(
                f"space '{self.space.name}' cannot be searched within limits ({self.limits}): the output of its cells, "
                "and so the cost, depends on which nodes an architecture reads; search without, or in another space"
            )
        if self.limits:
            _ = self.smallest

    def best(self, strength: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the architecture within the limits whose operations have the largest sum of strengths, none wasted.

        `strength` is as `SearchSpace.derive` takes it; what that returns is the best if it is within the limits. If
        not, the best is found exactly, to 2**-50 of the largest strength. A latency that must be measured is no sum:
        the sum of the operations' own latencies is limited in its stead, by the most at which the network is measured
        to be fast enough, found by halving. Raises UserError if no architecture is within the limits.
        """
        derived = self.space.derive(strength)
        if self.allows(derived):
            return derived
        self.check()
        gain = self._sums.whole(strength)
        if isinstance(self.latency, Tabulated):
            return self._listed(gain)
        if isinstance(self.latency, Measured):
            return self._halved_in(gain, self.latency)
        return self._optimum(gain, self._costs)

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly from those within the limits; raises UserError if many draws have found none.

        Where latency must be measured, those whose operations alone take longer are passed over unmeasured.
        """
        drawn: Iterable[Genotype] = filter(self._is_small, (self.space.sample(rng) for _ in range(_DRAWS)))
        if isinstance(self.latency, Measured):
            drawn = islice(filter(self._may_be_fast, drawn), _MEASUREMENTS)
        found = next(filter(self._is_fast, drawn), None)
        if found is None:
            raise UserError(
                f"{_DRAWS:,} random draws from space '{self.space.name}' have found no architecture within the limits: "
                f"{self.limits}; allow more, or choose a method that does not draw; the smallest is {self.smallest}"
            )
        return found

    @cached_property
    def smallest(self) -> Genotype:
        """The architecture with the least of what is limited last, among those within the limits before that.

        Parameters come first, then FLOPs, then latency. Raises UserError if no architecture is within the limits.
        """
        least, others = None, ""
        for number, (name, limit) in enumerate(self._given):
            least = self._optimum(negative(self._costs[number][0]), self._costs[:number])
            found = getattr(self._prices.total(least), name)
            if found > limit:
                raise self._none(f"the smallest{others} has {found:,} {_UNITS[name]}: {least}")
            others += f"{' and' if others else ' with'} at most {limit:,} {_UNITS[name]}"
        if self.latency is not None:
            least = self._fastest()
            if not self._is_fast(least):
                raise self._none(
                    f"the fastest{others} takes {self.latency.ms(least):.3g} ms, {self.latency.source}: {least}"
                )
        assert least is not None  # asked only where there is a limit
        return least

    def _fastest(self) -> Genotype:
        """Return, within the other limits, the architecture with the least latency, or whose operations have it."""
        if isinstance(self.latency, Measured):
            return self._optimum(negative(self.latency.alone), self._costs)
        return self._sums.genotype(self._every[np.where(self._are_small, self._ms, np.inf).argmin()])

    def _listed(self, gain: Table) -> Genotype:
        """Return the best of all architectures of the space, of equal ones the first."""
        allowed = self._are_small & (self._ms <= (self.limits.max_latency_ms or np.inf))
        gains = np.where(allowed, self._sums.totals(gain, self._every), np.iinfo(np.int64).min)
        return self._sums.genotype(self._every[gains.argmax()])

    def _halved_in(self, gain: Table, latency: Measured) -> Genotype:
        """Return the best within a limit on the operations' own latencies, the largest at which it is fast enough."""
        found, best = self._optimum(gain, self._costs), self.smallest
        if self._is_fast(found):
            return found
        low, high = (self._sums.total(latency.alone, genotype) for genotype in (best, found))
        for _ in range(_HALVINGS):
            middle = (low + high) // 2
            found = self._optimum(gain, [*self._costs, (latency.alone, middle)])
            if self._is_fast(found):
                best, low = found, middle + 1
            else:
                high = self._sums.total(latency.alone, found) - 1
            if low > high:
                break
        return best

    def _none(self, smallest: str) -> UserError:
        size = f"{self.network_size.width} channels, depth {self.network_size.depth}"
        space = f"no architecture of space '{self.space.name}' ({size}) is within the limits"
        return UserError(f"{space}: {self.limits}; {smallest}")

    def _optimum(self, gain: Table, within: Sequence[tuple[Table, int]]) -> Genotype:
        found = self._sums.optimum(gain, within)
        assert found is not None  # that there are some is checked first
        return found

    def _is_small(self, genotype: Genotype) -> bool:
        if not self._given:
            return True
        cost = self._prices.total(genotype)
        return all(getattr(cost, name) <= limit for name, limit in self._given)

    def _is_fast(self, genotype: Genotype) -> bool:
        limit = self.limits.max_latency_ms
        return self.latency is None or limit is None or self.latency.ms(genotype) <= limit

    def _may_be_fast(self, genotype: Genotype) -> bool:
        limit = self.limits.max_latency_ms
        assert isinstance(self.latency, Measured)
        assert limit is not None
        return self._sums.total(self.latency.alone, genotype) <= limit * NANOSECONDS

    @cached_property
    def _sums(self) -> Sums:
        return Sums(self.space)

    @cached_property
    def _prices(self) -> Prices:
        return Prices(self.space, self.network_size)

    @cached_property
    def _costs(self) -> list[tuple[Table, int]]:
        """What every operation has of each of the limited sums, and how much all operations together may have."""
        return [(self._table(name), limit - getattr(self._prices.fixed, name)) for name, limit in self._given]

    def _table(self, name: str) -> Table:
        return {
            kind: [
                [getattr(self._prices.of(kind, e, op), name) for op in edge.ops] for e, edge in enumerate(cell.edges)
            ]
            for kind, cell in self.space.cells.items()
        }

    # All architectures of a space that has a table, in the order of their options

    @cached_property
    def _every(self) -> Whole:
        return self._sums.every()

    @cached_property
    def _are_small(self) -> NDArray[np.bool_]:
        small = np.ones(len(self._every), bool)
        for table, limit in self._costs:
            small &= self._sums.totals(table, self._every) <= limit
        return small

    @cached_property
    def _ms(self) -> NDArray[np.float64]:
        """Their latencies; infinite where the table has none."""
        assert isinstance(self.latency, Tabulated)
        found = np.array([self.latency.ms(self._sums.genotype(options)) for options in self._every])
        return np.where(np.isnan(found), np.inf, found)
