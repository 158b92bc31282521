"""Multiple-choice knapsack, solved exactly: one option of every group, with the largest gain whose costs fit limits.

A dynamic programme over the groups. After each group a partial choice is dropped if its costs leave too little for the
cheapest remaining options, if another partial choice costs no more and gains no less, or if an upper bound on its gain
is below the best known choice. The bound is Lagrange's: with a price on every cost, the remaining groups can be
maximised one by one. The known choice comes from an earlier pass that keeps few partial choices.

All numbers are integers, so sums are exact and ties are real ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_WIDTHS = (500, 20_000, None)  # partial choices that each pass keeps; a pass follows only if the last one cut some
_PIVOTS = 256  # partial choices that all others are compared with; up to this many, no dominated one is kept
_STEPS, _PATIENCE = 200, 5  # of the search for prices: most steps, and steps without improvement before halving
_SLACK = 1e-9  # of the largest gain: more than the rounding error of the bound, which is a float


def solve(gains: Sequence[Integers], costs: Sequence[Integers], limits: Integers) -> list[int] | None:
    """Return the option of each group with the largest sum of gains whose costs are within the limits; None if none is.

    `gains[g]` has shape (options,) and `costs[g]` (options, limits); costs are not negative. Among equal gains the
    lowest costs win, the first cost first, and among equal costs the first options.
    """
    search, best = _Search(gains, costs, limits), None
    for width in _WIDTHS:
        floor = -math.inf if best is None else search.gain(best) - search.slack
        better, cut = search.run(floor, width)
        best = best if better is None else better
        if not cut:
            break
    return best


class _Search:
    """The dynamic programme, with bounds on the remaining groups."""

    def __init__(self, gains: Sequence[Integers], costs: Sequence[Integers], limits: Integers) -> None:
        self.gains, self.costs, self.limits = gains, costs, limits
        self.prices = _prices(gains, costs, limits)
        self.slack = _SLACK * sum(float(abs(gain).max()) for gain in gains)
        # From group g on: the cost of the cheapest options, and the largest gain less priced costs.
        self.cheapest = _sums_from([cost.min(0) for cost in costs], np.zeros_like(limits))
        values = [np.max(gain - cost @ self.prices) for gain, cost in zip(gains, costs, strict=True)]
        self.most = _sums_from(values, np.float64(0))

    def gain(self, options: Sequence[int]) -> int:
        """Return the sum of the gains of a choice."""
        return sum(int(gain[option]) for gain, option in zip(self.gains, options, strict=True))

    def run(self, floor: float, width: int | None) -> tuple[list[int] | None, bool]:
        """Return the best choice that gains at least `floor`, and whether a better one may have been cut.

        At most `width` partial choices are kept after each group.
        """
        gain, cost, steps, cut = np.zeros(1, np.int64), np.zeros((1, len(self.limits)), np.int64), [], False
        for g, (group_gain, group_cost) in enumerate(zip(self.gains, self.costs, strict=True)):
            gain = (gain[:, None] + group_gain).ravel()
            cost = (cost[:, None] + group_cost).reshape(len(gain), len(self.limits))
            bound = gain + (self.limits - cost) @ self.prices + self.most[g + 1]
            kept = np.flatnonzero((cost <= self.limits - self.cheapest[g + 1]).all(1) & (bound >= floor))
            kept = kept[_undominated(gain[kept], cost[kept], bound[kept])]
            if width is not None and len(kept) > width:
                kept, cut = np.sort(kept[np.argsort(-bound[kept], kind="stable")[:width]]), True
            gain, cost = gain[kept], cost[kept]
            steps.append(kept)
        if not len(gain):
            return None, cut
        return self._options(steps, int(np.lexsort((*cost.T[::-1], -gain))[0])), cut

    def _options(self, steps: Sequence[Integers], last: int) -> list[int]:
        """Return the options of the partial choice with number `last` after the last group."""
        options = []
        for kept, gain in zip(reversed(steps), reversed(self.gains), strict=True):
            last, option = divmod(int(kept[last]), len(gain))
            options.append(option)
        return options[::-1]


def _undominated(gain: Integers, cost: Integers, bound: Floats) -> Integers:
    """Return the sorted numbers of the choices that no other dominates, by costing no more and gaining no less.

    Of more than `_PIVOTS` choices, some dominated ones may be returned.
    """
    order = np.lexsort((-gain, *cost.T[::-1]))
    first = np.ones(len(order), bool)
    first[1:] = (cost[order[1:]] != cost[order[:-1]]).any(1)  # of equal costs only the largest gain, the first of those
    left = order[first]
    left = left[np.argsort(-bound[left], kind="stable")]  # the likeliest to dominate others come first
    pivot = 0
    while pivot < min(len(left), _PIVOTS):
        dominated = (cost[left] >= cost[left[pivot]]).all(1) & (gain[left] <= gain[left[pivot]])
        dominated[pivot] = False
        left, pivot = left[~dominated], pivot + 1 - int(dominated[:pivot].sum())
    return np.sort(left)


def _sums_from(values: Sequence[np.generic | Integers], zero: np.generic | Integers) -> Integers | Floats:
    """Return the sum of the values from each index on, and `zero` after the last."""
    return np.cumsum(np.stack([zero, *reversed(values)]), axis=0)[::-1]


def _prices(gains: Sequence[Integers], costs: Sequence[Integers], limits: Integers) -> Floats:
    """Return a price per unit of each cost; any prices give an upper bound, and these nearly the lowest.

    The bound is convex in the prices and is lowered by subgradient steps, which are halved when they stop helping
    (Held, Wolfe & Crowder, 1974). Until the end, costs are counted in shares of their limits.
    """
    scale = np.maximum(limits, 1).astype(np.float64)
    shares, room = [cost / scale for cost in costs], limits / scale
    prices = best = np.zeros(len(limits))
    least, lowest, step, waited = sum(float(gain.min()) for gain in gains), math.inf, 1.0, 0
    for _ in range(_STEPS):
        values = [gain - share @ prices for gain, share in zip(gains, shares, strict=True)]
        excess = np.sum([share[value.argmax()] for share, value in zip(shares, values, strict=True)], axis=0) - room
        bound = sum(float(value.max()) for value in values) + float(prices @ room)
        if bound < lowest:
            lowest, best, waited = bound, prices, 0
        elif (waited := waited + 1) % _PATIENCE == 0:
            step, prices = step / 2, best
        length = float(excess @ excess)
        if length == 0 or bound <= least:  # the optimum, or no choice fits
            break
        prices = np.maximum(0, prices + step * (bound - least) / length * excess)
    return best / scale
