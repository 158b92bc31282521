"""Draws: random choices of one option of every group within limits, however few there are.

Where limits are tight, a random architecture is never within them: of the space `mobile`, as few as four in 10^15. So
the choices that fit are counted, from the last group to the first, and an option is drawn in proportion to how many
choices of the remaining groups fit beside it. Counted is in units of cost, rounded down. What is drawn is thus uniform
among the choices that fit and a few that do not; without the latter it is exactly uniform among those that do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from supernet.models.cost.knapsack import Floats, Integers

_UNITS = 4096  # in what the limit leaves above the cheapest options of all groups


class Draws:
    """Draws for one limit: the sum of the costs of the options, one of each group, is at most `limit`.

    `costs[g]` has shape (options,).
    """

    def __init__(self, costs: Sequence[Integers], limit: int) -> None:
        room = limit - sum(int(cost.min()) for cost in costs)
        unit = max(0, room) // _UNITS + 1
        self._units = [(cost - cost.min()) // unit for cost in costs]
        self._room = room // unit

    @property
    def share(self) -> float:
        """The share of all choices that may be drawn; 0 if none fits."""
        return 0.0 if self._room < 0 else float(self._shares[0][self._room])

    def draw(self, rng: random.Random) -> list[int]:
        """Draw the option of each group; every choice within the limit is equally likely, and so are a few others."""
        options, room = list[int](), self._room
        for units, shares in zip(self._units, self._shares[1:], strict=True):
            left = room - units
            weights = np.where(left >= 0, shares[np.maximum(left, 0)], 0.0)
            options.append(rng.choices(range(len(units)), weights.tolist())[0])
            room = int(left[options[-1]])
        return options

    @cached_property
    def _shares(self) -> list[Floats]:
        """From each group on, and after the last: the share of the choices that fit in 0, 1, 2 and more units."""
        shares = [np.ones(self._room + 1)]
        for units in reversed(self._units):
            fitting = np.zeros_like(shares[0])
            for cost, options in zip(*np.unique(units[units <= self._room], return_counts=True), strict=True):
                fitting[cost:] += options * shares[0][: len(fitting) - cost]
            shares.insert(0, fitting / len(units))
        return shares
