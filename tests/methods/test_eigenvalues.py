"""R-DARTS' criterion on curves of eigenvalues made by hand."""

from __future__ import annotations

import math

import pytest

from supernet.methods.eigenvalues import first_rollback, judged, rollback


def test_a_search_goes_back_from_epoch_22_to_10_at_the_earliest():
    steep = [2.0**n for n in range(25)]
    assert [rollback(steep[:n]) for n in range(12)] == [None] * 12
    assert rollback(steep[:12]) == 10  # epochs 0 to 22
    assert rollback(steep[:13]) == 12
    assert first_rollback(steep) == (22, 10)
    assert [judged(n) for n in (11, 12)] == [False, True]


def curve(late: float) -> list[float]:
    """Twelve measurements; those of epochs 6 to 14 have the mean 1, and those of 14 to 22 the mean `late`."""
    return [9.0, 9.0, 9.0, 0.6, 0.8, 1.0, 1.2, 1.4, *[(5 * late - 1.4) / 4] * 4]


@pytest.mark.parametrize(("late", "expected"), [(1.3001, 10), (1.2999, None), (0.5, None)])
def test_the_averages_of_the_middles_18_and_10_are_compared(late, expected):
    assert rollback(curve(late)) == expected


def test_a_ratio_of_exactly_the_limit_is_none():
    assert rollback([0.0] * 3 + [1.0] * 4 + [1.0] + [1.375] * 4) is None  # (1 + 4 x 1.375) / 5 = 1.3
    assert rollback([0.0] * 3 + [1.0] * 4 + [1.0] + [1.375] * 3 + [1.376]) == 10


def test_what_was_before_the_windows_plays_no_part():
    assert rollback([math.inf, -7.0, 1e9, *curve(1.31)[3:]]) == 10


def test_averages_without_a_ratio_never_send_a_search_back():
    assert rollback([-1.0] * 8 + [-9.0] * 4) is None
    assert rollback([0.0] * 8 + [9.0] * 4) is None
    assert rollback([1.0] * 8 + [math.nan] * 4) is None
    assert first_rollback([]) is None
    assert first_rollback([1.0] * 30) is None


def test_measurements_in_every_epoch():
    steep = [2.0**n for n in range(25)]
    assert first_rollback(steep, every=1) == (16, 10)
    assert first_rollback(steep, every=5) == (5 * 8, 5 * 2)  # the ninth measurement is the first with both averages
