"""The figures of several seeds: strips, accuracy against cost, and agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from report.figures import assert_laid_out, legend, render
from supernet.report.plots import colour, draw_agreement, draw_costs, draw_strips

LONG = "darts+perturbation, alpha.lr=0.001, width=16"


def marks(axes, marker):
    return [tuple(place) for line in axes.lines if line.get_marker() == marker for place in line.get_xydata()]


def test_collapsed_seeds_are_crosses_and_equal_ones_stand_apart():
    rows = {"darts": [70.0, 90.0, 90.0, math.nan], LONG: [80.0]}
    figure = draw_strips(rows, "accuracy (%)", {"darts": [True, False, False, False]})
    (axes,) = figure.axes
    assert marks(axes, "x") == [(70, 0)]
    assert marks(axes, "o") == [(90, -0.13), (90, 0.13), (80, 1)]
    assert marks(axes, "|") == [(pytest.approx(250 / 3), 0), (80, 1)]
    assert legend(figure) == ["one seed", "one seed, collapsed", "mean"]
    assert_laid_out(figure, height=0.2)
    many = [y for _, y in marks(draw_strips({"a": [1.0] * 40}, "x").axes[0], "o")]
    assert (len(set(many)), max(map(abs, many)) < 0.5) == (40, True)


def test_a_label_is_no_formula():
    label = r"darts, data=a$\frac$b"
    (axes,) = draw_strips({label: [1.0]}, "x").axes
    assert axes.get_yticklabels()[0].get_text() == label
    render(axes.figure)
    render(draw_costs({label: [(90.0, 1)]}, ["passes"]))
    render(draw_agreement({label: {"1<-0": {label: 1}}}))


def test_every_search_is_at_its_costs():
    found = {"darts": [(90.0, 10, 2.0), (92.0, 30, 4.0)], LONG: [], "random": [(80.0, 10, 1.0)]}
    figure = draw_costs(found, ["passes", "seconds"])
    for number, axes in enumerate(figure.axes, 1):
        assert marks(axes, "o") == [(one[number], one[0]) for some in found.values() for one in some]
        assert marks(axes, "P")[0] == (np.mean([10, 30] if number == 1 else [2, 4]), 91)
        assert axes.get_xlim()[0] == 0
    assert legend(figure) == [*found, "mean of the seeds"]
    assert_laid_out(figure, height=1)
    assert_laid_out(draw_costs({}, ["passes", "seconds"]), height=1)


def test_many_labels_differ_and_one_is_marked():
    found = {f"{number}": [(90.0 + number, 1), (92.0, 3)] for number in range(9)}
    figure = draw_costs(found, ["FLOPs"], marked="4")
    (axes,) = figure.axes
    rings = [line for line in axes.lines if line.get_label() in found]
    assert len({(line.get_marker(), line.get_markeredgecolor()) for line in rings}) == 9
    assert marks(axes, "*") == [(2, 93)]
    assert len(marks(axes, "P")) == 8
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [93]
    assert legend(figure) == [*found, "mean of the seeds", "mean of 4"]
    assert_laid_out(figure, height=1)


def test_bars_are_as_long_as_the_seeds_that_chose_an_operation():
    counts = {
        label: {"1<-0": {"none": 1, "conv": 2}, "2<-1": {"conv": 1, "left out": 2}}
        for label in ("darts", LONG, "gdas", "pc")
    }
    figure = draw_agreement(counts, "left out")
    assert [axes.get_title() for axes in figure.axes] == list(counts)
    axes = figure.axes[0]
    bars = {
        (to_rgb(bar.get_facecolor()), round(bar.get_y() + 0.375)): (bar.get_x(), bar.get_width())
        for bar in axes.patches
    }
    assert bars[to_rgb(colour("none")), 0] == (0, 1)
    assert bars[to_rgb(colour("conv")), 0] == (1, 2)
    assert bars[to_rgb("white"), 1] == (1, 2)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first edge is on top
    assert legend(figure) == ["none", "conv", "left out"]
    assert_laid_out(figure, height=0.3)
    render(draw_agreement({}))


def test_bars_of_operations_of_one_colour_are_hatched_apart():
    names = [f"op{i}" for i in range(200)]
    twins = [name for name in names if colour(name) == colour(names[0])][:2]
    figure = draw_agreement({"darts": {"1<-0": {twins[0]: 1, twins[1]: 2, "left out": 1}}}, "left out")
    assert [bar.get_hatch() for bar in figure.axes[0].patches] == ["", "////", None]
    assert [patch.get_hatch() for patch in figure.legends[0].get_patches()] == ["", "////", None]
    render(figure)
