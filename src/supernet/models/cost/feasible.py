"""FeasibleSet: the architectures of a space within limits, the best and the smallest of them, and random ones."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.draws import Draws
from supernet.models.cost.latency import NANOSECONDS, MeasuredLatency, TabulatedLatency
from supernet.models.cost.latency_optimum import TabulatedOptimum, best_by_bisection
from supernet.models.cost.limits import MEASURED, Limits
from supernet.models.cost.options import OptionGroups, PerOperation, narrowed, negative, total
from supernet.models.cost.scaling import UNITS, widest
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

if TYPE_CHECKING:
    import torch

_DRAWS = 10_000  # random architectures that are drawn to find a feasible one
_MEASUREMENTS = 200  # of them whose latency is measured


class NoDrawError(UserError):
    """None of many random draws is within the limits, though there are architectures that are."""


class FeasibleSet:
    """The architectures of a space whose networks of size `network_size` are within the limits.

    `sums` limits more: of the values given for each operation, an architecture's may have at most so much together.
    Latencies are measured on `device`. Raises UserError for a latency that the table of the space does not have.
    """

    def __init__(
        self,
        space: SearchSpace,
        network_size: NetworkSize,
        limits: Limits | None = None,
        device: str | torch.device = "cpu",
        sums: Sequence[tuple[PerOperation, int]] = (),
    ) -> None:
        self.space, self.network_size, self.limits, self.device = space, network_size, limits or Limits(), device
        self._sums = list(sums)
        self.latency: TabulatedLatency | MeasuredLatency | None = None
        if self.limits.max_latency_ms is not None:
            measured = self.limits.latency == MEASURED
            self.latency = self.measuring if measured else TabulatedLatency(space, self.limits.latency)
        maxima = {"params": self.limits.max_params, "flops": self.limits.max_flops}
        self._maxima = [(name, most) for name, most in maxima.items() if most is not None]

    @cached_property
    def unmeasured(self) -> FeasibleSet:
        """The same set without the limit on a measured latency: fast enough to be used after every epoch."""
        if isinstance(self.latency, MeasuredLatency):
            limits = Limits(self.limits.max_params, self.limits.max_flops)
            return FeasibleSet(self.space, self.network_size, limits, self.device, self._sums)
        return self

    def within(self, space: SearchSpace) -> FeasibleSet:
        """Return those of the architectures that are also in a narrower space (see `SearchSpace.narrowed`)."""
        if space == self.space:
            return self
        sums = [(narrowed(values, self.space, space), most) for values, most in self._sums]
        return self._measured_alike(FeasibleSet(space, self.network_size, self.limits, self.device, sums))

    def limited(self, limits: Limits) -> FeasibleSet:
        """Return the architectures of the space within other limits."""
        return self._alike(FeasibleSet(self.space, self.network_size, limits, self.device, self._sums))

    def summing(self, values: PerOperation, most: int) -> FeasibleSet:
        """Return those of the architectures whose operations have at most `most` of these values together."""
        sums = [*self._sums, (values, most)]
        return self._alike(FeasibleSet(self.space, self.network_size, self.limits, self.device, sums))

    def _alike(self, other: FeasibleSet) -> FeasibleSet:
        """Return another set of the same space that shares the groups as well, which take long to list."""
        other._groups, other._operation_costs = self._groups, self._operation_costs
        return self._measured_alike(other)

    def _measured_alike(self, other: FeasibleSet) -> FeasibleSet:
        """Return another set that shares the measured latencies: measured again, a network would have another one."""
        other.measuring.measurements = self.measured
        return other

    def least(self, values: PerOperation) -> int:
        """Return the smallest sum of the values over an architecture's operations, whatever its latency."""
        return total(self.space, values, self._groups.best(negative(values), self._costs))

    @cached_property
    def measuring(self) -> MeasuredLatency:
        """Measures latencies on the device, whether they are limited or not."""
        return MeasuredLatency(self.space, self.network_size, self.device)

    @property
    def measured(self) -> dict[str, float]:
        """All measured latencies in ms; those that are put in are not measured again."""
        return self.measuring.measurements

    def allows(self, genotype: Genotype) -> bool:
        """Return whether an architecture is within the limits; measures its latency if need be."""
        return self._is_small(genotype) and self._is_fast(genotype)

    def check(self) -> None:
        """Raise UserError if no architecture is within the limits; the message names the smallest.

        Also raises UserError in a space whose costs are not sums over the edges, where no best one can be found.
        """
        if self.limits:
            self.space.check_additive_cost(f"cannot be searched within limits ({self.limits})")
            _ = self.smallest

    def best(self, op_scores: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the feasible architecture with the largest sum of op scores among those that waste no operation.

        `op_scores` is as `SearchSpace.derive` takes it. The architecture that `derive` returns is the best one if it is
        feasible. Otherwise the best is found exactly, to 2**-50 of the largest score, except with a measured latency,
        which is not a sum: see `best_by_bisection`. Raises UserError if no architecture is within the limits.
        """
        derived = self.space.derive(op_scores)
        if self.allows(derived):
            return derived
        self.check()
        gains, ms = self._groups.integers(op_scores), self.limits.max_latency_ms
        if self.latency is None or ms is None:
            return self._groups.best(gains, self._costs)
        if isinstance(self.latency, TabulatedLatency):
            return self._tabulated.best(gains, ms)
        latencies = self.latency.per_operation
        return best_by_bisection(self._groups, gains, self._costs, latencies, self._is_fast, self.smallest)

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly within the limits.

        Within limits of sums, by counting those that fit (see `draws`). Raises UserError if no architecture is within
        the limits, and NoDrawError if of 10,000 draws none is as fast as a latency demands, or within several limits at
        once. Where a latency must be measured, draws whose operations alone take too long are rejected without
        measuring.
        """
        draws: Iterable[Genotype] = filter(self._is_small, self._drawn(rng))
        if isinstance(self.latency, MeasuredLatency):
            draws = islice(filter(self._may_be_fast, draws), _MEASUREMENTS)
        drawn = next(filter(self._is_fast, draws), None)
        if drawn is None:
            raise NoDrawError(
                f"{_DRAWS:,} random draws from space '{self.space.name}' have found no architecture within the limits: "
                f"{self.limits}; allow more, or choose a method or selector that does not draw; the smallest is "
                f"{self.smallest}"
            )
        return drawn

    def _drawn(self, rng: random.Random) -> Iterator[Genotype]:
        """Yield random architectures, uniformly among a set that has all those within the limits of sums."""
        if self._draws is None:
            yield from (self.space.sample(rng) for _ in range(_DRAWS))
        elif self._draws.share:
            yield from (self._all.genotype(self._draws.draw(rng)) for _ in range(_DRAWS))

    @cached_property
    def _draws(self) -> Draws | None:
        """Draws for the limit of a sum that the fewest architectures keep, None without one."""
        limited = [*self._costs]
        if isinstance(self.latency, MeasuredLatency):
            limited.append((self.latency.per_operation, self._nanoseconds))
        draws = [Draws(self._all.sums(values), most) for values, most in limited]
        return min(draws, key=lambda each: each.share, default=None)

    @cached_property
    def smallest(self) -> Genotype:
        """The architecture with the least of the last limited cost, within the limits on those before.

        The order is parameters, FLOPs, latency. Raises UserError if no architecture is within the limits.
        """
        smallest, others = None, ""
        for number, (name, most) in enumerate(self._maxima):
            before = len(self._sums) + number
            smallest = self._groups.best(negative(self._costs[before][0]), self._costs[:before])
            least = getattr(self._operation_costs.total(smallest), name)
            if least > most:
                width = 0
                with suppress(UserError):  # of an operation that takes only some numbers of channels
                    width = widest(self.space, smallest, self.network_size, name, most)
                narrower = f" (it fits with target width {width})" if width else ""
                raise self._infeasible(f"the smallest{others} has {least:,} {UNITS[name]}{narrower}: {smallest}")
            others += f"{' and' if others else ' with'} at most {most:,} {UNITS[name]}"
        if self.latency is not None:
            smallest = self._fastest()
            if not self._is_fast(smallest):
                ms = f"{self.latency.ms(smallest):.3g} ms, {self.latency.source}"
                raise self._infeasible(f"the fastest{others} takes {ms}: {smallest}")
        assert smallest is not None  # only asked for where there is a limit
        return smallest

    def _fastest(self) -> Genotype:
        """Return the architecture with the lowest latency, or whose operations have the lowest sum of latencies."""
        if isinstance(self.latency, MeasuredLatency):
            return self._groups.best(negative(self.latency.per_operation), self._costs)
        return self._tabulated.fastest()

    def _infeasible(self, smallest: str) -> UserError:
        size = f"{self.network_size.width} channels, depth {self.network_size.depth}"
        space = f"no architecture of space '{self.space.name}' ({size}) is within the limits"
        return UserError(f"{space}: {self.limits}; {smallest}")

    def _is_small(self, genotype: Genotype) -> bool:
        if any(total(self.space, values, genotype) > most for values, most in self._sums):
            return False
        cost = self._operation_costs.total(genotype) if self._maxima else None
        return all(getattr(cost, name) <= most for name, most in self._maxima)

    def _is_fast(self, genotype: Genotype) -> bool:
        most = self.limits.max_latency_ms
        return self.latency is None or most is None or self.latency.ms(genotype) <= most

    def _may_be_fast(self, genotype: Genotype) -> bool:
        assert isinstance(self.latency, MeasuredLatency)
        return total(self.space, self.latency.per_operation, genotype) <= self._nanoseconds

    @property
    def _nanoseconds(self) -> int:
        """The limit on the latency, in nanoseconds; there must be one."""
        assert self.limits.max_latency_ms is not None
        return int(self.limits.max_latency_ms * NANOSECONDS)

    @cached_property
    def _groups(self) -> OptionGroups:
        return OptionGroups(self.space)

    @cached_property
    def _all(self) -> OptionGroups:
        """The groups of all architectures, those that waste operations included."""
        return OptionGroups(self.space, wasteful=True)

    @cached_property
    def _operation_costs(self) -> OperationCosts:
        return OperationCosts(self.space, self.network_size)

    @cached_property
    def _costs(self) -> list[tuple[PerOperation, int]]:
        """The sums and the limited costs: of every operation, and how much all operations may have together."""
        costs = self._operation_costs
        priced = [(costs.per_operation(name), most - getattr(costs.fixed, name)) for name, most in self._maxima]
        return [*self._sums, *priced]

    @cached_property
    def _tabulated(self) -> TabulatedOptimum:
        assert isinstance(self.latency, TabulatedLatency)
        return TabulatedOptimum(self._groups, self._costs, self.latency)
