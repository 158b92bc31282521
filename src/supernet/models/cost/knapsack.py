"""The most gain within limits, exactly: one option out of every group, each with a gain and with costs that add up.

A dynamic programme over the groups. After each, a partial choice is dropped if its costs leave too little for the
cheapest rest, if another one costs no more and gains no less, or if it cannot reach the best choice that is known. The
last needs an upper bound, which is Lagrange's: the costs are priced into the gains, and then the best rest is the best
of each group. The known choice comes from a pass that keeps few partial choices.

All numbers are whole, so that sums are exact and equal ones are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Real = NDArray[np.float64]

_WIDTHS = (500, 20_000, None)  # partial choices that a pass keeps; each one is for what the one before has cut
_PIVOTS = 256  # partial choices that all others are compared with: among so few, none that is dominated stays
_STEPS, _PATIENCE = 200, 5  # of the search for prices, and those without a gain before they become shorter
_SLACK = 1e-9  # of the largest gain: more than the rounding of the upper bound, which is no whole number


def best(gains: Sequence[Whole], costs: Sequence[Whole], limits: Whole) -> list[int] | None:
    """Return the option of each group with the largest sum of gains whose costs are within the limits; None if none is.

    `gains[g]` has shape (options,), `costs[g]` (options, limits), not negative. Among equal gains the lower costs win,
    the first cost first, and among equal costs the first options.
    """
    search, found = _Search(gains, costs, limits), None
    for width in _WIDTHS:
        floor = -math.inf if found is None else search.gain(found) - search.slack
        better, cut = search.run(floor, width)
        found = found if better is None else better
        if not cut:
            break
    return found


class _Search:
    """The dynamic programme, with what it knows of the groups that are still to come."""

    def __init__(self, gains: Sequence[Whole], costs: Sequence[Whole], limits: Whole) -> None:
        self.gains, self.costs, self.limits = gains, costs, limits
        self.prices = _prices(gains, costs, limits)
        self.slack = _SLACK * sum(float(abs(gain).max()) for gain in gains)
        # From group number g on: what the cheapest rest costs, and what the best rest is worth at these prices.
        self.least = _after([cost.min(0) for cost in costs], np.zeros_like(limits))
        worth = [np.max(gain - cost @ self.prices) for gain, cost in zip(gains, costs, strict=True)]
        self.most = _after(worth, np.float64(0))

    def gain(self, chosen: Sequence[int]) -> int:
        """Return the sum of the gains of a choice."""
        return sum(int(gain[option]) for gain, option in zip(self.gains, chosen, strict=True))

    def run(self, floor: float, width: int | None) -> tuple[list[int] | None, bool]:
        """Return the best choice, and whether partial choices beyond `width` were cut, so that there may be a better.

        What cannot gain `floor` is dropped.
        """
        gain, cost, steps, cut = np.zeros(1, np.int64), np.zeros((1, len(self.limits)), np.int64), [], False
        for g, (own_gain, own_cost) in enumerate(zip(self.gains, self.costs, strict=True)):
            gain = (gain[:, None] + own_gain).ravel()
            cost = (cost[:, None] + own_cost).reshape(len(gain), len(self.limits))
            bound = gain + (self.limits - cost) @ self.prices + self.most[g + 1]
            kept = np.flatnonzero((cost <= self.limits - self.least[g + 1]).all(1) & (bound >= floor))
            kept = kept[_undominated(gain[kept], cost[kept], bound[kept])]
            if width is not None and len(kept) > width:
                kept, cut = np.sort(kept[np.argsort(-bound[kept], kind="stable")[:width]]), True
            gain, cost = gain[kept], cost[kept]
            steps.append(kept)
        if not len(gain):
            return None, cut
        return self._options(steps, int(np.lexsort((*cost.T[::-1], -gain))[0])), cut

    def _options(self, steps: Sequence[Whole], last: int) -> list[int]:
        """Return the options that led to partial choice number `last` of the last step."""
        options = []
        for kept, gain in zip(reversed(steps), reversed(self.gains), strict=True):
            last, option = divmod(int(kept[last]), len(gain))
            options.append(option)
        return options[::-1]


def _undominated(gain: Whole, cost: Whole, bound: Real) -> Whole:
    """Return the numbers, in order, of the choices that no other beats: no more cost in anything and no less gain.

    Of many choices some that are beaten may stay.
    """
    order = np.lexsort((-gain, *cost.T[::-1]))
    fresh = np.ones(len(order), bool)
    fresh[1:] = (cost[order[1:]] != cost[order[:-1]]).any(1)  # of equal costs the largest gain, the first of those
    left = order[fresh]
    left = left[np.argsort(-bound[left], kind="stable")]  # what beats most comes first
    pivot = 0
    while pivot < min(len(left), _PIVOTS):
        beaten = (cost[left] >= cost[left[pivot]]).all(1) & (gain[left] <= gain[left[pivot]])
        beaten[pivot] = False
        left, pivot = left[~beaten], pivot + 1 - int(beaten[:pivot].sum())
    return np.sort(left)


def _after(values: Sequence[np.generic | Whole], nothing: np.generic | Whole) -> Whole | Real:
    """Return the sum of the values from each number on, and `nothing` behind the last."""
    return np.cumsum(np.stack([nothing, *reversed(values)]), axis=0)[::-1]


def _prices(gains: Sequence[Whole], costs: Sequence[Whole], limits: Whole) -> Real:
    """Return what a unit of each cost is worth: any prices bound the gain from above, and the best ones closest.

    The bound is convex in the prices. It is lowered by subgradient steps, which become shorter where they no longer
    help (Held, Wolfe & Crowder, 1974); meanwhile a cost is counted in shares of its limit.
    """
    scale = np.maximum(limits, 1).astype(np.float64)
    shares, room = [cost / scale for cost in costs], limits / scale
    prices = found = np.zeros(len(limits))
    least, lowest, step, waited = sum(float(gain.min()) for gain in gains), math.inf, 1.0, 0
    for _ in range(_STEPS):
        worth = [gain - share @ prices for gain, share in zip(gains, shares, strict=True)]
        excess = np.sum([share[own.argmax()] for share, own in zip(shares, worth, strict=True)], axis=0) - room
        bound = sum(float(own.max()) for own in worth) + float(prices @ room)
        if bound < lowest:
            lowest, found, waited = bound, prices, 0
        elif (waited := waited + 1) % _PATIENCE == 0:
            step, prices = step / 2, found
        length = float(excess @ excess)
        if length == 0 or bound <= least:  # there is nothing better, or nothing at all
            break
        prices = np.maximum(0, prices + step * (bound - least) / length * excess)
    return found / scale
