"""The figure of the loss around alpha: the levels of the contours, the path, and the layout."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.typing import NDArray

from report.figures import assert_laid_out, legend
from supernet.report.plots import draw_landscape

XS, YS = np.linspace(-2, 2, 9), np.linspace(-1, 1, 5)
PATH = [(-1.5, 0.5), (0.0, 0.25), (3.0, -0.5), (1.0, -0.75)]

Loss = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def drawn(loss: Loss, path: object = PATH) -> Figure:
    return draw_landscape(XS.tolist(), YS.tolist(), loss(*np.meshgrid(XS, YS)), path)


def contours(figure: Figure) -> tuple[QuadContourSet, QuadContourSet]:
    """Return the filled contours and the contour lines."""
    filled, lines = (part for part in figure.axes[0].collections if isinstance(part, QuadContourSet))
    assert (filled.filled, lines.filled) == (True, False)
    return filled, lines


def bar(figure: Figure) -> Axes:
    (axes,) = figure.axes[0].child_axes
    return axes


@pytest.mark.parametrize("along", [0, 1])
def test_contours_run_where_the_loss_has_their_level(along: int) -> None:
    """If the loss is one of the coordinates, the contour of a level lies at that coordinate."""
    filled, lines = contours(drawn(lambda *place: place[along] + 0 * place[1 - along]))
    span = (XS, YS)[along]
    assert filled.levels[0] <= span[0] < span[-1] <= filled.levels[-1]
    within = 0
    for level, line in zip(lines.levels, lines.get_paths(), strict=True):
        if span[0] < level < span[-1]:
            np.testing.assert_allclose(line.vertices[:, along], level, atol=1e-12)
            assert np.ptp(line.vertices[:, 1 - along]) == np.ptp((XS, YS)[1 - along])
            within += 1
    assert within > 8


def test_the_path_is_a_line_of_points_with_both_ends_marked_and_cut_off_at_the_window() -> None:
    figure = drawn(lambda x, y: x**2 + y**2)
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["each epoch"].get_xydata(), PATH)
    np.testing.assert_array_equal(lines["first epoch"].get_xydata(), PATH[:1])
    np.testing.assert_array_equal(lines["last epoch"].get_xydata(), PATH[-1:])
    assert lines["first epoch"].get_marker() != lines["last epoch"].get_marker()
    assert (axes.get_xlim(), axes.get_ylim()) == ((-2, 2), (-1, 1))
    assert all(line.get_clip_on() for line in axes.lines)
    assert legend(figure) == ["each epoch", "first epoch", "last epoch"]


def test_title_and_labels() -> None:
    figure = draw_landscape([0, 1], [0, 1], [[1, 2], [3, 4]], PATH, "DARTS, seed 0", "loss after 10 steps")
    axes = figure.axes[0]
    assert axes.get_title() == "DARTS, seed 0"
    assert axes.get_xlabel() == "direction 1 (units of alpha)"
    assert axes.get_ylabel() == "direction 2 (units of alpha)"
    assert bar(figure).get_ylabel() == "loss after 10 steps"


@pytest.mark.parametrize(("tall", "shown"), [(1.0, 1.0), (1.4, 1.4), (0.6, 0.6), (100.0, 1.5), (0.01, 0.5)])
def test_the_plane_is_true_to_scale_unless_it_is_very_long(tall: float, shown: float) -> None:
    figure = draw_landscape([-1, 1], [-tall, tall], [[1, 2], [3, 4]], PATH)
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(shown, rel=1e-6)
    assert bar(figure).get_window_extent().height == pytest.approx(box.height, rel=1e-6)


@pytest.mark.parametrize(("size", "low"), [(1.0, 0.0), (0.004, 1.2345), (300.0, -0.001), (3.0, 2000.0)])
def test_nothing_is_cut_off_or_covered(size: float, low: float) -> None:
    losses = [[low, low + 1e-4], [math.nan, low + 3e-4]]
    figure = draw_landscape([-size, size], [-size / 1.7, size / 1.7], losses, PATH, "ZARTS-MGS on CIFAR-10 " * 3)
    assert_laid_out(figure, height=2)
    assert bar(figure).get_tightbbox().x1 <= figure.bbox.x1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_where_there_is_no_finite_loss_there_is_no_colour(bad: float) -> None:
    figure = drawn(lambda x, y: np.where((x < -0.9) & (y < -0.4), bad, x + y))
    filled, _ = contours(figure)
    corners = np.concatenate([path.vertices for path in filled.get_paths()])
    assert not ((corners[:, 0] < -1) & (corners[:, 1] < -0.5)).any()
    assert filled.levels[-1] == pytest.approx(3, abs=0.3)
    assert legend(figure)[-1] == "no finite loss"
    figure.draw_without_rendering()


def test_a_few_huge_losses_leave_the_colours_to_the_others() -> None:
    calm, blown = (drawn(lambda x, y, high=high: np.where(x + y > 2.7, high, 2 + x**2 + y**2)) for high in (6.0, 1e6))
    assert contours(calm)[0].extend == "neither"
    filled, _ = contours(blown)
    assert filled.extend == "max"
    assert 5 < filled.levels[-1] < 30
    blown.draw_without_rendering()


@pytest.mark.parametrize("value", [0.0, 1.2345678, -3.3, 1000.0])
def test_a_loss_that_is_flat_but_for_rounding_has_one_colour_and_a_readable_scale(value: float) -> None:
    figure = drawn(lambda x, y: value + 1e-15 * x)
    figure.draw_without_rendering()
    filled, _ = contours(figure)
    assert np.ptp(filled.levels) >= 1e-3
    assert sum(len(path.vertices) > 0 for path in filled.get_paths()) <= 2  # one, or two if it is a level itself
    scale = bar(figure).yaxis
    words = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in scale.get_ticklabels()]
    assert scale.get_offset_text().get_text() == ""
    assert len(set(words)) == len(words) > 3
    assert all(float(word) == pytest.approx(value, abs=0.01 * max(1, abs(value))) for word in words)


@pytest.mark.parametrize("path", [[], [(0.5, 0.5)], [(math.nan, 0.0), (0.5, 0.5)]])
def test_short_paths_and_no_losses_at_all(path: list[tuple[float, float]]) -> None:
    figure = draw_landscape([0, 1], [0, 1], np.full((2, 2), math.nan), path)
    figure.draw_without_rendering()
    assert not figure.axes[0].child_axes
    drawn(lambda x, y: x * y, path).draw_without_rendering()
