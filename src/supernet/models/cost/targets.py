"""Targets: costs that the architecture of a search is to come down to, and the penalty that brings it there.

    alpha learns from     loss + sum of m_i log E_i(alpha) over the costs with C_i > T_i
    after each epoch      m_i <- min(10, m_i max(5/4, C_i / T_i)^(40 / epochs)) if C_i > T_i,   m_i = 0.01 at first

E_i is the expected cost under the op weights (see `expected.py`), T_i its target, and C_i the cost of the network that
the op weights give now. A network within its target thus is free; in a step, C_i is also that of op weights which the
cost has raised by up to 2 %, so that a network at its target does not leave it in the next one.

The multiplier m_i is learned as in LightNAS (Luo et al., DAC 2022, arXiv 2208.14446), so no weight has to be tuned: it
is small at first, when alpha has learned nothing, and rises while the network is above its target. Its step is that of
the exponential method of multipliers (Tseng & Bertsekas, Mathematical Programming 60, 1993). That it follows the cost
that counts, while alpha follows one with a gradient, is the proxy Lagrangian of Cotter et al. (JMLR 2019, arXiv
1809.04198): op weights far from 0 and 1 have an expected cost far from that of the network.

Architectures that are evaluated one by one have a cost each, which is taken off their accuracy:

    ENAS' reward, and what selectors compare        accuracy - sum of m_i log(C_i / T_i) over the costs with C_i > T_i

But for the multiplier this is MnasNet's hard reward, acc (C / T)^w above T (Tan et al., CVPR 2019, arXiv 1807.11626,
eq. 3), with a logarithm in the place of the power. TuNAS' absolute one, acc + w |C / T - 1| (Bender et al., CVPR 2020,
arXiv 2008.06120), ends at the target from both sides; here a network within its target is free for all methods. The
T_i, which in the loss of alpha would be a constant, lets the reward be continuous there.

Deliberate differences. LightNAS takes a step of the multiplier for each of alpha, in proportion to C / T - 1, and has a
cost equal to the target, so its multiplier falls as well; here no penalty is left within the target, and a multiplier
that fell would let the network out again. Ours are the numbers: a network twice too large for a quarter of the epochs
multiplies m by 1000, however many epochs there are, and at 10 a network e times as small is worth more than any
cross-entropy.

A network for which the table has no latency is above its target by the smallest excess, whatever the target.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import MEASURED, Limits
from supernet.models.mix import Mix
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace

_FIRST, _MOST = 0.01, 10.0  # multipliers
_LEAD = 0.02  # by which an operation within the target must lead one above it
_LEAST = 1e-9  # of an expected cost, whose logarithm must be finite: all 'none' take 0 ms
_EXCESS = 1.25  # cost divided by its target that a smaller excess counts as
_GAIN = 40.0  # exponent of the multipliers' steps over a whole search


def named(targets: Limits) -> dict[str, float]:
    """Return the target of each cost that has one, by the cost's name as `Expected` takes it."""
    latency = "latency" if targets.latency == MEASURED else targets.latency
    given = {"params": targets.max_params, "flops": targets.max_flops, latency: targets.max_latency_ms}
    return {name: float(most) for name, most in given.items() if most is not None}


def limit_on(name: str, most: float) -> Limits:
    """Return the limit of `most` on one cost, by its name as `named` gives it."""
    if name == "params":
        return Limits(max_params=int(most))
    if name == "flops":
        return Limits(max_flops=int(most))
    return Limits(max_latency_ms=most, latency=MEASURED if name == "latency" else name)


def known(cost: float) -> float | None:
    """Return a cost as plain data have it: None for one that the table lacks, which is NaN."""
    return None if math.isnan(cost) else cost


class Targets:
    """The penalty of the `targets` of a search of so many epochs, and its multipliers.

    Raises UserError for a cost that `Expected` does not know.
    """

    def __init__(self, feasible: FeasibleSet, targets: Limits, epochs: int) -> None:
        self._feasible, self._targets, self._gain = feasible, named(targets), _GAIN / epochs
        self._costs = {name: Expected(feasible, name) for name in self._targets}
        first, none = dict.fromkeys(self._targets, _FIRST), dict.fromkeys(self._targets, 0.0)
        self._state: dict[str, Any] = {"multipliers": first, "rest": none, "used": False}

    def within(self, space: SearchSpace) -> Targets:
        """Return these targets, with the same multipliers, for op weights of a narrower space."""
        narrower = copy.copy(self)
        narrower._costs = {name: Expected(self._feasible.within(space), name) for name in self._targets}
        return narrower

    def __call__(self, mix: Mix, now: Mix | None = None) -> Tensor:
        """Return the penalty, a scalar with gradient to the op weights of `mix`.

        The costs that have one are those above their targets with the op weights `now`, by default those of `mix`.
        """
        self._state["used"] = True
        weights = {kind: edges.weights for kind, edges in mix.items()}
        there = {kind: edges.products for kind, edges in (now or mix).items()}  # as op scores are
        above = {
            name: cost.derived(there, _LEAD) + self._rest[name] > self._targets[name]
            for name, cost in self._costs.items()
        }
        prices = {name: cost(weights).clamp(min=_LEAST) for name, cost in self._costs.items()}
        terms = [self.multipliers[name] * above[name] * price.log() for name, price in prices.items()]
        return torch.stack(terms).sum()

    def excess(self, mix: Mix) -> float:
        """Return the penalty of the one architecture that `mix` runs; 0 within its targets."""
        self._state["used"] = True
        weights = {kind: edges.weights for kind, edges in mix.items()}
        above = {n: (float(cost.alone(weights)) + self._rest[n]) / self._targets[n] for n, cost in self._costs.items()}
        ratios = {name: ratio if math.isfinite(ratio) else _EXCESS for name, ratio in above.items()}
        return sum(self.multipliers[name] * math.log(max(1.0, ratio)) for name, ratio in ratios.items())

    @property
    def multipliers(self) -> dict[str, float]:
        """The multiplier of each cost; it changes after epochs only, so that a recorded step may hold it."""
        multipliers: dict[str, float] = self._state["multipliers"]
        return multipliers

    @property
    def _rest(self) -> dict[str, float]:
        """What a measured latency was above the sum of its operations' after the last epoch; 0 for other costs."""
        rest: dict[str, float] = self._state["rest"]
        return rest

    def follow(self, op_scores: Mapping[str, Tensor], genotype: Genotype) -> dict[str, dict[str, float | None]]:
        """End an epoch with these op scores, which give this architecture; return what is to be known of each cost.

        Multipliers stay as they are after an epoch in which alpha has not learned. The cost of a network is None where
        the table has none.
        """
        found: dict[str, dict[str, float | None]] = {}
        for name, cost in self._costs.items():
            target, here = self._targets[name], cost.of(genotype)
            excess = _EXCESS if math.isnan(here) else here / target
            if self._state["used"] and excess > 1:
                self.multipliers[name] = min(_MOST, self.multipliers[name] * max(_EXCESS, excess) ** self._gain)
            if name == "latency":
                self._rest[name] = here - float(cost.derived(op_scores))
            found[name] = {
                "target": target,
                "expected": float(cost(op_scores)),
                "network": known(here),
                "multiplier": self.multipliers[name],
            }
        self._state["used"] = False
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the multipliers, and whether alpha has learned in this epoch."""
        return copy.deepcopy(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._state.update(copy.deepcopy(dict(state)))
