"""Rank correlation against its definition, pair by pair."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from supernet.ranks import kendall


@pytest.mark.parametrize("seed", range(20))
def test_kendalls_tau_b_is_the_surplus_of_pairs_in_the_same_order(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, (2, 7)).tolist()
    same = opposite = tied_x = tied_y = 0
    for i, j in combinations(range(7), 2):
        order = (x[i] - x[j]) * (y[i] - y[j])
        same, opposite = same + (order > 0), opposite + (order < 0)
        tied_x, tied_y = tied_x + (x[i] == x[j]), tied_y + (y[i] == y[j])
    wanted = (same - opposite) / math.sqrt((21 - tied_x) * (21 - tied_y))
    assert kendall(x, y) == pytest.approx(wanted)


def test_one_order_is_1_its_reverse_is_minus_1_and_all_ties_are_nothing():
    assert kendall([1, 2, 3], [10, 20, 30]) == 1
    assert kendall([1, 2, 3], [3, 2, 1]) == -1
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3]))
