"""Spreads, and paired differences with their interval."""

from __future__ import annotations

import math

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


@pytest.mark.parametrize("pairs", [2, 3, 5, 8, 29, 30, 31, 60, 200])
def test_the_interval_is_students(pairs):
    """Its bounds are where a t test, by the numerical integral of the density, leaves 5 % beyond."""
    draws = np.random.default_rng(pairs).normal(1, 2, pairs)
    found = difference(dict(enumerate(draws)), dict.fromkeys(range(pairs), 0.0))
    assert found.mean == pytest.approx(draws.mean())
    assert found.high - found.mean == pytest.approx(found.mean - found.low)
    t = (found.high - found.mean) / (draws.std(ddof=1) / math.sqrt(pairs))
    freedom = pairs - 1
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    x = np.linspace(0, t, 20_001)
    density = np.exp(scale - (freedom + 1) / 2 * np.log1p(x**2 / freedom))
    inside = 2 * float(np.sum((density[1:] + density[:-1]) / 2) * (x[1] - x[0]))
    assert inside == pytest.approx(0.95, abs=2e-4)


def test_the_interval_of_five_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        found = difference(dict(enumerate(draws.normal(1, 2, 5))), dict.fromkeys(range(5), 0.0))
        covered += found.low <= 1 <= found.high
    assert 0.935 <= covered / 2000 <= 0.965  # three standard errors


@pytest.mark.parametrize(("value", "mean"), [(2.0, "+1.00"), (1.0, "+0.00"), (0.0, "-1.00")])
def test_a_single_pair_has_no_interval(value, mean):
    found = difference({3: value}, {3: 1.0})
    assert (found.low, found.high) == (None, None)
    assert str(found) == f"{mean}, too few seeds to tell (1 of 5)"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, -1.0, 0.5, -0.5, 0.2], "within noise"),
        ([1.0, 1.1, 0.9, 1.2, 1.0], "higher"),
        ([0.1, 0.2, 0.1, 0.2, 2.0], "within noise"),  # of one sign, but not to be told from 0
        ([-1.0, -1.1, -0.9, -1.2, -1.0], "lower"),
        ([1.0, 1.1, 0.9], "too few seeds to tell (3 of 5)"),
        ([1.0, -1.0], "within noise"),
    ],
)
def test_a_difference_is_said_in_words(values, words):
    assert difference(dict(enumerate(values)), dict.fromkeys(range(5), 0.0)).words == words
