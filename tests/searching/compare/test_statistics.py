"""Spreads, and paired differences with their bootstrap interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.searching.compare.statistics import Spread, difference

VALUES = st.lists(st.floats(-100, 100), min_size=1, max_size=20)


@given(VALUES)
def test_a_spread_is_numpys(values):
    found = Spread.of(values)
    assert (found.mean, found.median) == pytest.approx((np.mean(values), np.median(values)))
    assert (found.low, found.high) == (min(values), max(values))
    assert found.std == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)


def test_differences_are_paired_by_seed():
    found = difference({0: 11.0, 1: 21.0, 2: 31.0, 9: 99.0}, {2: 30.0, 1: 20.0, 0: 10.0, 5: 0.0})
    assert (found.pairs, found.mean, found.low, found.high) == (3, 1.0, 1.0, 1.0)
    assert difference({0: 1.0}, {1: 1.0}) is None


def test_a_difference_that_is_zero_but_for_rounding_is_none():
    above, exact = dict.fromkeys(range(5), 0.1 + 0.2), dict.fromkeys(range(5), 0.3)
    for found in (difference(above, exact), difference(exact, above)):
        assert str(found) == "+0.00 [+0.00, +0.00], within noise"


@given(VALUES)
def test_the_interval_is_around_the_mean_and_within_the_differences(values):
    found = difference(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0))
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9 or len(values) > 1


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        found = difference(dict(enumerate(draws.normal(1, 2, 30))), dict.fromkeys(range(30), 0.0))
        covered += found.low <= 1 <= found.high
    assert 0.9 <= covered / 300 <= 0.98  # a percentile interval of 30 pairs is a little short of 95 %


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, -1.0, 0.5, -0.5, 0.2], "within noise"),
        ([1.0, 1.1, 0.9, 1.2, 1.0], "higher"),
        ([-1.0, -1.1, -0.9, -1.2, -1.0], "lower"),
        ([1.0, 1.1, 0.9], "too few seeds to tell (3 of 5)"),
        ([1.0, -1.0], "within noise"),
    ],
)
def test_a_difference_is_said_in_words(values, words):
    assert difference(dict(enumerate(values)), dict.fromkeys(range(5), 0.0)).words == words
