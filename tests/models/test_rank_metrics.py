"""Rank correlation, pairs and regret against their definitions, pair by pair and thing by thing."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from supernet.models.rank_metrics import _BLOCK, kendall, pairwise, regret, spearman

each_seed = pytest.mark.parametrize("seed", range(20))


def tied_rows(seed: int) -> tuple[list[int], list[int]]:
    x, y = np.random.default_rng(seed).integers(0, 4, (2, 7)).tolist()
    return x, y


@each_seed
def test_kendalls_tau_b_is_the_surplus_of_pairs_in_the_same_order(seed):
    x, y = tied_rows(seed)
    same = opposite = tied_x = tied_y = 0
    for i, j in combinations(range(7), 2):
        order = (x[i] - x[j]) * (y[i] - y[j])
        same, opposite = same + (order > 0), opposite + (order < 0)
        tied_x, tied_y = tied_x + (x[i] == x[j]), tied_y + (y[i] == y[j])
    wanted = (same - opposite) / math.sqrt((21 - tied_x) * (21 - tied_y))
    assert kendall(x, y) == pytest.approx(wanted)


@each_seed
def test_spearmans_rho_is_the_correlation_of_ranks_of_which_equals_have_the_mean(seed):
    x, y = tied_rows(seed)

    def ranks(row):
        order = sorted(row)
        return [np.mean([place for place, other in enumerate(order, 1) if other == value]) for value in row]

    assert spearman(x, y) == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])


def test_spearmans_rho_without_ties_is_known_in_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.permutation(30), rng.permutation(30)
    assert spearman(x, y) == pytest.approx(1 - 6 * int(((x - y) ** 2).sum()) / (30 * (30**2 - 1)))


def test_long_rows_are_compared_block_by_block():
    rng, count = np.random.default_rng(0), 2 * _BLOCK + 3
    x, y = rng.permutation(count), rng.permutation(count)
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    assert kendall(x, y) == pytest.approx(signs.sum() / (count * (count - 1)))
    assert spearman(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pairwise(x, y) == pytest.approx((signs > 0).sum() / (count * (count - 1)))


@each_seed
def test_pairs_are_counted_where_truth_has_an_order_and_a_tie_of_the_estimate_is_half_right(seed):
    estimate, truth = tied_rows(seed)
    right, pairs = 0.0, 0
    for i, j in combinations(range(7), 2):
        if truth[i] != truth[j]:
            better, worse = (i, j) if truth[i] > truth[j] else (j, i)
            right += 1 if estimate[better] > estimate[worse] else 0.5 * (estimate[better] == estimate[worse])
            pairs += 1
    assert pairwise(estimate, truth) == pytest.approx(right / pairs)


def test_without_ties_the_share_of_right_pairs_is_half_of_one_more_than_tau():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 25)).tolist()
    assert pairwise(x, y) == pytest.approx((1 + kendall(x, y)) / 2)


@each_seed
@pytest.mark.parametrize("top", [1, 3, 7, 9])
def test_regret_is_what_the_best_of_those_that_seem_best_lacks(seed, top):
    estimate, truth = tied_rows(seed)
    chosen = sorted(range(7), key=lambda n: (-estimate[n], n))[:top]
    assert regret(estimate, truth, top) == max(truth) - max(truth[n] for n in chosen)


def test_one_order_is_1_its_reverse_is_minus_1_and_all_ties_are_nothing():
    for correlation in (kendall, spearman):
        assert correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
        assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
        assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
        assert math.isnan(correlation([1, 2, 3], [1, 1, 1]))
    assert pairwise([1, 2, 3], [10, 20, 30]) == 1
    assert pairwise([3, 2, 1], [10, 20, 30]) == 0
    assert pairwise([1, 1, 1], [10, 20, 30]) == 0.5
    assert math.isnan(pairwise([1, 2, 3], [1, 1, 1]))
    assert regret([3, 2, 1], [70.0, 94.5, 93.0]) == 24.5
    assert regret([3, 2, 1], [70.0, 94.5, 93.0], 2) == 0
