"""The figure of accuracy against cost: the Pareto front, compared with brute force, and the points that are drawn."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from report.figures import assert_laid_out, laid_out, legend, render
from supernet.report.plots import draw_front, draw_points, save
from supernet.spaces import tables

Points = dict[str, list[tuple[float, float]]]
FOUND: Points = {"DARTS": [(3.0, 60.0), (2.0, 65.0)], "random": [(7.0, 71.5)]}


def random_table(seed: int, count: int = 300, levels: int | None = None) -> np.ndarray:
    """Return random costs and accuracies; with few levels, some are equal."""
    rng = np.random.default_rng(seed)
    if levels is None:
        return np.stack([rng.gamma(4, 2, count), 100 - rng.gamma(2, 8, count)], 1)
    return np.stack([rng.integers(1, levels, count), 80 + rng.integers(1, levels, count)], 1).astype(float)


def line(axes: Axes, label: str) -> Line2D:
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [None, 9])
def test_the_line_is_the_highest_accuracy_at_no_more_than_a_cost(seed: int, levels: int | None) -> None:
    every = random_table(seed, levels=levels)
    (axes,) = draw_front({}, every).axes
    front = line(axes, "best for the cost")
    assert front.get_drawstyle() == "steps-post"
    x, y = np.asarray(front.get_data())
    assert x[-1] == axes.collections[0].get_offsets()[:, 0].max()
    shown = [place for place in every if place[1] >= np.quantile(every[:, 1], 0.1)]
    for cost in np.linspace(x[0], x[-1], 60):
        best = max(accuracy for its, accuracy in shown if its <= cost)
        assert y[np.searchsorted(x, cost, side="right") - 1] == best
    corners = set(zip(x[:-1], y[:-1], strict=True))  # the last point only ends the line
    undominated = {
        (c, a) for c, a in shown if not any(d <= c and b >= a and (d, b) != (c, a) for d, b in shown)
    }  # fmt: skip
    assert corners == undominated


def test_found_architectures_have_a_colour_per_label() -> None:
    figure = draw_front(FOUND, random_table(0), "latency (ms)", "accuracy (%)")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latency (ms)", "accuracy (%)")
    for label, places in FOUND.items():
        np.testing.assert_array_equal(line(axes, label).get_xydata(), places)
        assert line(axes, label).get_linestyle() == "None"
    assert line(axes, "DARTS").get_markeredgecolor() != line(axes, "random").get_markeredgecolor()
    assert line(axes, "DARTS").get_markersize() != line(axes, "random").get_markersize()  # none hides the other
    assert re.fullmatch(r"all architectures but the \d+ least accurate", legend(figure)[0])
    assert legend(figure)[1:] == ["best for the cost", "DARTS", "random"]


def test_labels_of_one_colour_have_different_markers() -> None:
    (axes,) = draw_front({f"m{i}": [(1.0, 80.0 + i)] for i in range(20)}, random_table(0)).axes
    looks = {(str(line(axes, f"m{i}").get_markeredgecolor()), line(axes, f"m{i}").get_marker()) for i in range(20)}
    assert len(looks) == 20


def test_the_worst_of_the_cloud_is_left_out_unless_something_worse_was_found() -> None:
    every = random_table(1)
    least = np.quantile(every[:, 1], 0.1)
    (axes,) = draw_front({"good": [(1.0, 99.0)]}, every).axes
    shown = axes.collections[0].get_offsets()
    assert len(shown) == np.count_nonzero(every[:, 1] >= least)
    assert shown[:, 1].min() >= least
    (axes,) = draw_front({"bad": [(1.0, 1.0)]}, every).axes
    assert len(axes.collections[0].get_offsets()) == len(every)
    assert axes.get_ylim()[0] < 1


def test_missing_measurements_are_not_drawn() -> None:
    every = random_table(2)
    some = np.concatenate([every, [[math.nan, 99.9], [1.0, math.nan]]])
    pictures = [draw_front({"a": [(1.0, math.nan), (2.0, 90.0)]}, places) for places in (every, some)]
    first, second = (np.asarray(figure.axes[0].collections[0].get_offsets()) for figure in pictures)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(line(pictures[0].axes[0], "a").get_xydata(), [(2.0, 90.0)])


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    figure = draw_front(FOUND, random_table(3), log=True)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    laid_out(figure)
    low, high = axes.get_xlim()
    ticks = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert {"1", "2", "5", "10", "20"} <= set(ticks)
    assert not any(tick.label1.get_text() for tick in axes.xaxis.get_minor_ticks())
    assert draw_front(FOUND, random_table(3)).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    "costs", [(5.2e6, 9.8e6), (5.2e6, 5.4e6), (3e6, 8e6), (2e5, 7.9e5), (2e6, 1.6e7), (2e6, 3e7), (1e5, 9e8)]
)
def test_a_narrow_range_of_costs_has_several_labels_too(costs: tuple[float, float]) -> None:
    figure = draw_points({"a": [(cost, 90.0, False) for cost in costs]}, "FLOPs")
    laid_out(figure)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    labels = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert 3 <= len({*labels}) == len(labels) <= 13


@pytest.mark.parametrize("found", [{}, {"a": []}, {"a": [(1.0, 50.0)]}])
@pytest.mark.parametrize(("every", "log"), [([], False), ([], True), ([(math.nan, 90.0)], True), ([(2.0, 90.0)], True)])
def test_few_or_no_numbers_do_not_fail(found: Points, every: list[tuple[float, float]], log: bool) -> None:
    render(draw_front(found, every, log=log))


def test_long_labels_stay_inside_the_picture() -> None:
    labels = [f"zarts-mgs with flops={i / 10}, latency_pixel3_ms=0.2" for i in range(8)]
    figure = draw_front({label: [(1.0, 90.0)] for label in labels}, random_table(4))
    assert_laid_out(figure, height=2)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_whole_table_gives_the_same_bytes_and_a_small_file(tmp_path: Path, suffix: str) -> None:
    table = tables.load("nasbench201")
    every = np.stack([table.column("latency_edgegpu_ms"), table.column("c10_test")], 1)
    for name in "ab":
        save(draw_front(FOUND, every, log=True), tmp_path / f"{name}.{suffix}")
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second
    assert len(first) < 400_000
