"""The figure of magnitude against strength: a point per operation, and marks where the two disagree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from report.figures import assert_laid_out, legend
from supernet.report.plots import colour, draw_strength

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
DARTS_OPS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
EDGES = {"cell": [(1, 0, OPS), (2, 0, OPS[1:]), (2, 1, OPS)]}
WEIGHTS = {"cell": [[0.1, 0.4, 0.2, 0.3], [0.2, 0.3, 0.5, 9.0], [0.1, 0.2, 0.3, 0.4]]}
ACCURACIES = {"cell": [[10.0, 80.0, 85.0, 90.0], [80.0, 82.0, 88.0, 99.0], [30.0, None, 70.0, math.nan]]}


def numbers(edges: dict[str, list[tuple[int, int, tuple[str, ...]]]], scale: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        kind: [[*(scale * rng.dirichlet(np.ones(len(ops)))), 9 * scale] for *_, ops in cell]
        for kind, cell in edges.items()
    }


def points(axes: Axes) -> dict[str, tuple[float, float]]:
    """Return the place of every operation that is drawn."""
    lines = {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    places = {op: tuple(line.get_xydata()[0]) for op, line in lines.items()}
    return {op: place for op, place in places.items() if not np.isnan(place).any()}


def rings(axes: Axes, marker: str) -> list[tuple[float, float]]:
    found = [line for line in axes.lines if line.get_marker() == marker and line.get_markerfacecolor() == "none"]
    return [(float(x), float(y)) for line in found for x, y in line.get_xydata()]


def joining(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_linestyle() == "-" and line.get_marker() == "None"]


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def test_every_operation_is_a_point_at_its_weight_and_accuracy() -> None:
    figure = draw_strength(WEIGHTS, ACCURACIES, EDGES)
    assert [axes.get_title() for axes in figure.axes] == ["1 <- 0", "2 <- 0", "2 <- 1"]
    for axes, (*_, ops), x, y in zip(figure.axes, EDGES["cell"], WEIGHTS["cell"], ACCURACIES["cell"], strict=True):
        measured = {op: (a, b) for op, a, b in zip(ops, x, y, strict=False) if b is not None and not math.isnan(b)}
        assert points(axes) == measured
        shades = {str(line.get_label()): line.get_markerfacecolor() for line in axes.lines}
        assert all(shades[op] == colour(op) for op in ops)
        assert axes.get_xlim()[1] < 0.6  # the padding is not drawn
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1


def test_the_largest_weight_and_the_highest_accuracy_are_marked_and_joined_if_they_differ() -> None:
    first, second, third = draw_strength(WEIGHTS, ACCURACIES, EDGES).axes
    assert (rings(first, "s"), rings(first, "o")) == ([(0.4, 80.0)], [(0.3, 90.0)])
    (line,) = joining(first)
    np.testing.assert_array_equal(line.get_xydata(), [(0.4, 80.0), (0.3, 90.0)])
    assert rings(second, "s") == rings(second, "o") == [(0.5, 88.0)]
    assert rings(third, "s") == rings(third, "o") == [(0.3, 70.0)]  # operations that were not measured are ignored
    assert not joining(second) + joining(third)


def test_the_title_counts_agreements_and_gives_the_correlation() -> None:
    counted = "the largest weight has the highest accuracy on 2 of 3 edges"
    assert title(draw_strength(WEIGHTS, ACCURACIES, EDGES)) == counted
    assert title(draw_strength(WEIGHTS, ACCURACIES, EDGES, correlation=math.nan)) == counted
    assert title(draw_strength(WEIGHTS, ACCURACIES, EDGES, correlation=-0.126)) == f"{counted}; rank correlation -0.13"


def test_operations_that_are_no_choice_are_drawn_and_not_compared() -> None:
    weights, accuracies = {"cell": [[0.6, 0.1, 0.2, 0.3], [1.0, 9.0, 9.0, 9.0], *WEIGHTS["cell"][2:]]}, ACCURACIES
    choices = {"cell": [[1, 2, 3], [0], [0]]}
    figure = draw_strength(weights, accuracies, EDGES, choices=choices)
    first, second, third = figure.axes
    assert "none" in points(first)
    assert rings(first, "s") == rings(first, "o") == [(0.3, 90.0)]
    assert not rings(second, "s") + rings(third, "o")
    assert title(figure) == "the largest weight has the highest accuracy on 1 of 1 edge"


def test_equals_are_all_marked_and_agree_if_all_of_the_largest_weight_do() -> None:
    figure = draw_strength({"cell": [[0.25] * 4]}, {"cell": [[10, 90, 80, 90]]}, {"cell": [(1, 0, OPS)]})
    (axes,) = figure.axes
    assert len(rings(axes, "s")) == 4
    assert rings(axes, "o") == [(0.25, 90.0)] * 2
    assert not joining(axes)
    assert title(figure) == "the largest weight has the highest accuracy on 0 of 1 edge"
    both = draw_strength({"cell": [[0.1, 0.4, 0.1, 0.4]]}, {"cell": [[10, 90, 80, 90]]}, {"cell": [(1, 0, OPS)]})
    assert title(both) == "the largest weight has the highest accuracy on 1 of 1 edge"


def test_edges_without_a_measurement_are_empty_and_not_counted() -> None:
    nothing: dict[str, Any] = {"cell": [[None] * 4, [math.nan] * 3, ACCURACIES["cell"][2]]}
    figure = draw_strength(WEIGHTS, nothing, EDGES, 84.0)
    assert [len(points(axes)) for axes in figure.axes] == [0, 0, 2]
    assert title(figure).endswith("on 1 of 1 edge")
    assert_laid_out(figure)
    assert_laid_out(draw_strength(WEIGHTS, {"cell": [[None] * 4] * 3}, EDGES))


def test_the_supernets_accuracy_is_a_line_in_every_panel() -> None:
    figure = draw_strength(WEIGHTS, ACCURACIES, EDGES, 84.0)
    for axes in figure.axes:
        (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
        assert list(line.get_ydata()) == [84.0, 84.0]
    keys = ["largest weight", "highest accuracy"]
    assert legend(figure) == [*OPS, *keys, "all operations"]
    assert legend(draw_strength(WEIGHTS, ACCURACIES, EDGES)) == [*OPS, *keys]


def test_operations_of_one_colour_have_different_markers() -> None:
    names = [f"op{i}" for i in range(200)]
    twins = tuple(name for name in names if colour(name) == colour(names[0]))[:3]
    edges = {"cell": [(1, 0, (*twins, "skip_connect"))]}
    figure = draw_strength(numbers(edges), numbers(edges, 90), edges)
    drawn = {str(line.get_label()): line.get_marker() for line in figure.axes[0].lines}
    assert [drawn[op] for op in (*twins, "skip_connect")] == ["o", "s", "^", "o"]
    assert [line.get_marker() for line in figure.legends[0].get_lines()][:4] == ["o", "s", "^", "o"]


LONG = ("mobile_bottleneck_3x3_expand6", "mobile_bottleneck_5x5_expand3", "b")
PAIRS = [(target, source) for target in range(2, 6) for source in range(target)]
SPACES = {
    "one edge": {"cell": [(1, 0, OPS)]},
    "DARTS": {kind: [(*pair, (*DARTS_OPS, "avg_pool_3x3")) for pair in PAIRS] for kind in ("normal", "reduce")},
    "positions": {f"{i:02}": [(1, 0, OPS)] for i in range(1, 11)},
    "long positions": {f"a_long_name_of_a_position_{i}": [(1, 0, LONG)] for i in range(5)},
    "a very long operation": {"cell": [(1, 0, ("x" * 90, *LONG))]},
}


@pytest.mark.parametrize(
    "edges",
    [pytest.param(edges, id=name, marks=[pytest.mark.slow] * (name == "DARTS")) for name, edges in SPACES.items()],
)
def test_nothing_is_cut_off_or_covered(edges: Any) -> None:
    figure = draw_strength(numbers(edges), numbers(edges, 90), edges, 84.0, 0.5)
    assert len(figure.axes) == sum(map(len, edges.values()))
    assert_laid_out(figure)
