"""The figures of one-shot against true accuracies, and of Kendall's tau of several supernets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from report.figures import assert_laid_out, legend
from supernet.report.plots import draw_ranking, draw_taus

RNG = np.random.default_rng(0)
TRUTH, ONE_SHOT, PARAMS = (row.tolist() for row in RNG.uniform(10, 95, (3, 21)))


def drawn(tau: float | None = 0.456, best_half: float | None = -0.1) -> Figure:
    return draw_ranking(ONE_SHOT, TRUTH, [1e6 * value for value in PARAMS], tau, best_half, "c10_test")


def assert_wide(figure: Figure) -> None:
    assert_laid_out(figure, height=0.2)
    assert figure.axes[0].get_window_extent().width > 2 * figure.dpi


def test_every_architecture_is_a_point_at_its_accuracies_darker_where_it_is_larger() -> None:
    figure = drawn()
    axes, bar = figure.axes
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), np.stack([TRUTH, ONE_SHOT], 1))
    np.testing.assert_allclose(points.get_array(), PARAMS)  # in millions
    figure.draw_without_rendering()
    light = points.get_facecolors()[:, :3].sum(1)
    assert (np.diff(light[np.argsort(PARAMS)]) < 0).all()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("c10_test (%)", "one-shot accuracy (%)")
    assert bar.get_ylabel() == "parameters (millions)"
    assert_wide(figure)


def test_the_line_has_the_truly_best_half_on_its_right() -> None:
    (line,) = drawn().axes[0].lines
    place = line.get_xdata()[0]
    assert sum(value >= place for value in TRUTH) == 11
    assert sum(value > place for value in TRUTH) == 10


def test_the_title_has_both_taus() -> None:
    assert drawn().axes[0].get_title() == "Kendall's tau 0.46; -0.10 among the truly best half"
    assert drawn(None, None).axes[0].get_title() == "Kendall's tau none; none among the truly best half"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_equal_architectures_do_not_fail(count: int) -> None:
    assert_wide(draw_ranking([50.0] * count, [90.0] * count, [1e6] * count))


TAUS = {"pool of 16, in proportion to the parameters": [0.2, 0.4, 0.3], "none": [], "RSPS": [0.7, math.nan, 0.5]}


def test_every_seed_is_a_point_in_its_row_and_a_bar_is_at_their_mean() -> None:
    figure = draw_taus(TAUS, "tau")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(TAUS)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top
    points = [tuple(place) for line in axes.lines if line.get_marker() == "o" for place in line.get_xydata()]
    assert points == [(0.2, 0), (0.4, 0), (0.3, 0), (0.7, 2), (0.5, 2)]
    bars = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "|"])
    np.testing.assert_allclose(bars, [(0.3, 0), (0.6, 2)])
    assert axes.get_xlabel() == "tau"
    assert_wide(figure)
    assert_wide(draw_taus({}))


def test_far_less_accurate_architectures_are_left_out_and_counted() -> None:
    truth = [90 + 0.01 * number for number in range(100)] + [10.0, 10.0]
    figure = draw_ranking([50 + 0.1 * value for value in truth], truth, [1e6] * len(truth))
    assert figure.axes[0].get_xlim()[0] > 80
    assert legend(figure) == ["median", "far less accurate, not shown: 2"]
    assert legend(draw_ranking(truth[:100], truth[:100], [1e6] * 100)) == ["median"]
