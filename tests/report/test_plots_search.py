"""The figures of a search over its epochs: the scores of operations, and the gradient diagnostics."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from report.figures import assert_laid_out, laid_out, legend, render
from supernet.report.plots import colour, draw_curvature, draw_diagnostics, draw_search, edges_of, thresholds
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Genotype

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
PAIRS = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
DARTS_OPS = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3")
DARTS_PAIRS = tuple((target, source) for target in range(2, 6) for source in range(target))
MOBILE = ("mobile3_3x3", "skip_connect", "mobile6_5x5", "none")


def score_rows(
    edges: dict[str, list[tuple[int, int, tuple[str, ...]]]], epochs: int, **more: Any
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    width = max(len(ops) for cell in edges.values() for _, _, ops in cell)
    rows = []
    for epoch in range(1, epochs + 1):
        weights = {
            kind: [[*rng.dirichlet(np.ones(len(ops))), *[9.0] * (width - len(ops))] for _, _, ops in cell]
            for kind, cell in edges.items()
        }
        rows.append({"epoch": epoch, "loss": 1.9, "accuracy": 0.3, "op_scores": weights, **more})
    return rows


NASBENCH_EDGES = {"cell": [(*pair, OPS) for pair in PAIRS]}
DARTS_EDGES = {kind: [(*pair, DARTS_OPS) for pair in DARTS_PAIRS] for kind in ("normal", "reduce")}


def test_lines_are_the_scores_of_the_rows() -> None:
    rows = score_rows(NASBENCH_EDGES, 7)
    figure = draw_search(rows, NASBENCH_EDGES)
    assert [axes.get_title() for axes in figure.axes] == [f"{target} <- {source}" for target, source in PAIRS]
    for edge, axes in enumerate(figure.axes):
        assert [line.get_label() for line in axes.lines] == list(OPS)
        for column, line in enumerate(axes.lines):
            assert line.get_color() == colour(OPS[column])
            assert list(line.get_xdata()) == list(range(1, 8))
            assert list(line.get_ydata()) == [row["op_scores"]["cell"][edge][column] for row in rows]
        every = [score for row in rows for edge_scores in row["op_scores"]["cell"] for score in edge_scores]
        low, high = axes.get_ylim()
        assert min(every) - 0.1 * max(every) < low < min(every) < max(every) < high < 1.1 * max(every)
    assert legend(figure) == list(OPS)


def test_scores_that_hardly_differ_have_whole_numbers_at_the_axis() -> None:
    scores = {"cell": [[0.2, 0.20003, 0.19998, 0.20001, 0.2]] * 6}
    figure = draw_search([{"epoch": epoch, "op_scores": scores} for epoch in (1, 2)], NASBENCH_EDGES)
    render(figure)
    assert [axes.yaxis.get_offset_text().get_text() for axes in figure.axes] == [""] * 6


def test_padding_is_not_drawn() -> None:
    edges = {"cell": [(1, 0, ("skip_connect", "conv")), (2, 0, ("conv",)), (2, 1, ("skip_connect", "conv", "pool"))]}
    figure = draw_search(score_rows(edges, 3), edges)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 3]
    assert figure.axes[0].get_ylim()[1] < 1.1
    assert legend(figure) == ["skip_connect", "conv", "pool"]


def test_larger_scores_share_a_longer_axis() -> None:
    rows = score_rows(NASBENCH_EDGES, 3)
    rows[2]["op_scores"]["cell"][5][0] = 4.0
    limits = {axes.get_ylim() for axes in draw_search(rows, NASBENCH_EDGES).axes}
    ((low, high),) = limits
    assert low < 0 < 4 < high < 4.3


def test_the_chosen_operations_are_marked_and_the_edges_left_out_are_in_brackets() -> None:
    genotype = Genotype.of("darts", {"normal": [(2, 0, "sep_conv_3x3"), (3, 1, "skip_connect")], "reduce": []})
    figure = draw_search(score_rows(DARTS_EDGES, 3), DARTS_EDGES, genotype=genotype)
    ringed = {
        (axes.get_title(), line.get_label()) for axes in figure.axes for line in axes.lines if line.get_marker() == "o"
    }
    assert ringed == {("normal 2 <- 0", "sep_conv_3x3"), ("normal 3 <- 1", "skip_connect")}
    assert sum(axes.get_title().startswith("(") for axes in figure.axes) == 26
    assert legend(figure)[-2:] == ["chosen", "( ): left out"]
    assert_laid_out(figure)


def test_a_small_cell_beside_the_title_shows_the_place_of_the_edge() -> None:
    figure = draw_search(score_rows(NASBENCH_EDGES, 2), NASBENCH_EDGES)
    for number, axes in enumerate(figure.axes):
        (places,) = axes.collections
        *arcs, marked = [path.vertices for path in places.get_paths()]
        assert len(arcs) == len(PAIRS)
        np.testing.assert_array_equal(marked, arcs[number])
    assert not draw_search(score_rows(positions(2), 2), positions(2)).axes[0].collections


def test_epochs_after_which_a_search_went_back_are_in_the_legend() -> None:
    rows = score_rows(NASBENCH_EDGES, 3)
    rows[1]["back_to"] = 1
    assert legend(draw_search(rows, NASBENCH_EDGES))[-1] == "went back"


def test_the_accuracy_in_a_table_has_a_panel_on_top() -> None:
    rows = score_rows(NASBENCH_EDGES, 5)
    for row, value in zip(rows, (90.0, None, math.nan, 54.0), strict=False):
        row["table"] = {"c10_test": value}
    figure = draw_search(rows, NASBENCH_EDGES, "c10_test")
    assert len(figure.axes) == 7
    top = figure.axes[0]
    assert top.get_title() == "test accuracy of the derived architecture on CIFAR-10 (table)"
    np.testing.assert_array_equal(top.lines[0].get_ydata(), [90.0, math.nan, math.nan, 54.0, math.nan])
    laid_out(figure)
    assert top.get_position().x1 == pytest.approx(figure.axes[3].get_position().x1, abs=0.02)
    assert top.get_position().y0 > figure.axes[1].get_position().y1


@pytest.mark.parametrize("entry", [None, {}, {"c10_test": None}, {"c10_test": math.nan}])
def test_without_an_accuracy_in_a_table_there_is_no_panel_for_it(entry: Any) -> None:
    figure = draw_search(score_rows(NASBENCH_EDGES, 2, table=entry), NASBENCH_EDGES, "c10_test")
    assert len(figure.axes) == 6


def test_the_title_names_other_fields_of_the_table() -> None:
    rows = score_rows(NASBENCH_EDGES, 2, table={"in16_valid": 40.0, "score": 1.0})
    titles = [draw_search(rows, NASBENCH_EDGES, key).axes[0].get_title() for key in ("in16_valid", "score")]
    assert titles[0] == "validation accuracy of the derived architecture on ImageNet16-120 (table)"
    assert titles[1] == "score of the derived architecture (table)"


def test_a_single_row_is_visible() -> None:
    rows = score_rows(NASBENCH_EDGES, 1, table={"c10_test": 90.0})
    figure = draw_search(rows, NASBENCH_EDGES, "c10_test")
    laid_out(figure)
    assert all(line.get_marker() == "." for axes in figure.axes for line in axes.lines)
    assert [tick for tick in figure.axes[-1].get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_the_points_of_a_single_row_stand_side_by_side() -> None:
    figure = draw_search(score_rows(NASBENCH_EDGES, 1), NASBENCH_EDGES)
    for axes in figure.axes:
        places = [float(line.get_xdata()[0]) for line in axes.lines]
        assert places == sorted(places)
        assert min(np.diff(places)) > 0.05
        assert np.mean(places) == pytest.approx(1)
        assert axes.get_xlim()[0] < places[0] < places[-1] < axes.get_xlim()[1]


def test_many_edges_and_kinds_and_missing_numbers() -> None:
    rows = score_rows(DARTS_EDGES, 3)
    rows[1]["op_scores"]["reduce"][0][0] = None
    rows[2]["op_scores"]["normal"][13][1] = math.nan
    figure = draw_search(rows, DARTS_EDGES)
    assert_laid_out(figure)
    assert max(figure.get_size_inches()) < 10
    assert len(figure.axes) == 28
    assert figure.axes[0].get_title() == "normal 2 <- 0"
    assert figure.axes[27].get_title() == "reduce 5 <- 4"
    boxes = [axes.get_position() for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def positions(count: int, ops: tuple[str, ...] = MOBILE) -> dict[str, list[tuple[int, int, tuple[str, ...]]]]:
    return {f"{i:02}": [(1, 0, ops)] for i in range(1, count + 1)}


@pytest.mark.parametrize(("count", "lines"), [(2, 1), (3, 1), (4, 2), (8, 3), (10, 2), (20, 4), (25, 5)])
def test_kinds_with_a_single_edge_share_a_grid(count: int, lines: int) -> None:
    figure = draw_search(score_rows(positions(count), 3), positions(count))
    assert [axes.get_title() for axes in figure.axes] == list(positions(count))
    assert {row(axes) for axes in figure.axes} == set(range(lines))
    assert max(figure.get_size_inches()) < 10
    assert [row(axes) for axes in figure.axes if axes.get_ylabel()] == list(range(lines))
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def row(axes: Axes) -> int:
    spec = axes.get_subplotspec()
    assert spec is not None
    return spec.rowspan.start


def test_single_edges_beside_other_cells_have_a_block_of_their_own() -> None:
    edges = {"stem": [(1, 0, MOBILE)], **NASBENCH_EDGES, "neck": [(1, 0, MOBILE)]}
    found = {axes.get_title(): row(axes) for axes in draw_search(score_rows(edges, 3), edges).axes}
    assert found == {"stem": 0, "neck": 0} | {f"cell {t} <- {s}": 1 + (t == 3) for t, s in PAIRS}


LONG = ("mobile_bottleneck_3x3_expand6", "mobile_bottleneck_5x5_expand3", "b")
SEARCHED = {
    **{f"{count} positions": positions(count) for count in (1, 2, 4, 25)},
    "one edge of DARTS": {"cell": [(1, 0, (*DARTS_OPS, "dil_conv_5x5"))]},
    "long operations": positions(2, LONG),
    "a very long operation": positions(1, ("x" * 90, *LONG)),
    "long positions": {f"a_long_name_of_a_position_{i}": [(1, 0, LONG)] for i in range(5)},
    "NAS-Bench-201": NASBENCH_EDGES,
}


@pytest.mark.parametrize("edges", SEARCHED.values(), ids=SEARCHED.keys())
def test_nothing_is_cut_off_or_covered(edges: Any) -> None:
    assert_laid_out(draw_search(score_rows(edges, 3), edges))


def test_operations_of_one_colour_have_lines_of_different_styles() -> None:
    names = [f"op{i}" for i in range(200)]
    twins = tuple(name for name in names if colour(name) == colour(names[0]))[:3]
    edges = {"cell": [(1, 0, (*twins, "skip_connect"))]}
    figure = draw_search(score_rows(edges, 3), edges)
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--", ":", "-"]
    assert [line.get_linestyle() for line in figure.legends[0].get_lines()] == ["-", "--", ":", "-"]


def test_no_rows_make_empty_panels() -> None:
    figure = draw_search([], NASBENCH_EDGES, "c10_test")
    laid_out(figure)
    assert len(figure.axes) == 6


# --- draw_diagnostics


def test_diagnostics_show_both_correlations_every_operation_and_the_two_means() -> None:
    found = [
        {
            "correlation": 2.0 - e,
            "correlation_lag1": 0.1 * e,
            "gradient of skip_connect": 1.0 * e,
            "gradient of nor_conv_3x3": -2.0,
        }
        for e in range(3)
    ]
    rows = [{"epoch": e + 1, "diagnostics": values} for e, values in enumerate(found)]
    left, cosine, right = draw_diagnostics(rows, {"nor_conv_3x3"}).axes
    assert left.get_lines()[0].get_ydata().tolist() == [2.0, 1.0, 0.0]
    assert cosine.get_lines()[0].get_ydata().tolist() == pytest.approx([0.0, 0.1, 0.2])
    lines = {line.get_label(): line.get_ydata() for line in right.get_lines()}
    assert lines["mean, without"].tolist() == lines["skip_connect"].tolist() == [0.0, 1.0, 2.0]
    assert lines["mean, with weights"].tolist() == [-2.0, -2.0, -2.0]


def test_gradients_of_operations_of_one_colour_have_lines_of_different_styles() -> None:
    names = [f"op{i}" for i in range(200)]
    twins = [name for name in names if colour(name) == colour(names[0])][:2]
    rows = [{"epoch": e, "diagnostics": {f"gradient of {name}": 1.0 * e for name in twins}} for e in (1, 2)]
    lines = draw_diagnostics(rows, set(twins)).axes[2].get_lines()
    assert {str(line.get_label()): line.get_linestyle() for line in lines if line.get_label() in twins} == {
        twins[0]: "-",
        twins[1]: "--",
    }


def test_diagnostics_of_epochs_too_short_to_be_measured() -> None:
    rows = [{"epoch": 1, "diagnostics": {}}, {"epoch": 2, "diagnostics": {"correlation": 1.0, "gradient of conv": 2.0}}]
    right = draw_diagnostics(rows, {"conv"}).axes[2]
    assert np.isnan(right.get_lines()[0].get_ydata()[0])
    assert right.get_lines()[0].get_ydata()[1] == 2.0
    render(draw_diagnostics([{"epoch": 1, "diagnostics": {}}], {"conv"}))


# --- draw_curvature


def test_curvature_shows_the_eigenvalues_measured_and_every_edge() -> None:
    diagnostics = [{"entropy": {"cell": [1.5 - e, 1.0]}, "margin": {"cell": [0.1 * e, 0.0]}} for e in range(2)]
    rows: list[dict[str, Any]] = [{"epoch": e + 1, "diagnostics": values} for e, values in enumerate(diagnostics)]
    rows[0]["diagnostics"]["eigenvalue"] = 0.3
    left, entropy, margin = draw_curvature(rows, (2, 1)).axes
    eigenvalues, grown, back = left.get_lines()
    assert (list(eigenvalues.get_xdata()), list(eigenvalues.get_ydata())) == ([1], [0.3])
    assert (grown.get_xdata()[0], back.get_xdata()[0]) == (2, 1)
    assert [list(line.get_ydata()) for line in entropy.get_lines()] == [[1.5, 0.5], [1.0, 1.0], [1.25, 0.75]]
    assert [list(line.get_ydata()) for line in margin.get_lines()] == [[0.0, 0.1], [0.0, 0.0], [0.0, 0.05]]
    render(draw_curvature(rows))
    render(draw_curvature([]))


@pytest.mark.filterwarnings("error")
def test_op_weights_that_are_equal_have_margins_of_zero():
    rows = [{"epoch": 1, "diagnostics": {"entropy": {"cell": [1.6]}, "margin": {"cell": [0.0]}}}]
    _, entropy, margin = draw_curvature(rows).axes
    assert entropy.get_ylim() == pytest.approx((0, 1.76))
    assert margin.get_ylim() == (0, 1)


@pytest.mark.parametrize("epochs", [1, 4])
def test_weights_of_edges_are_a_line_of_their_own(epochs: int) -> None:
    rows = score_rows(NASBENCH_EDGES, epochs)
    for row in rows:
        row["edge_weights"] = {"cell": [0.1 * edge * row["epoch"] for edge in range(6)]}
    figure = draw_search(rows, NASBENCH_EDGES)
    for edge, axes in enumerate(figure.axes):
        (line,) = [line for line in axes.lines if line.get_label() == "weight of the edge"]
        assert list(line.get_ydata()) == [row["edge_weights"]["cell"][edge] for row in rows]
    assert legend(figure) == [*OPS, "weight of the edge"]
    assert figure.axes[0].get_ylim()[1] >= 0.5 * epochs


FEWER = {"fewer": Cell.dense(4, MOBILE, inputs=2, output="concat", keep=(0, 2)), "all": Cell.dense(4, MOBILE)}


def test_the_line_above_which_edges_are_kept_is_in_the_cells_that_may_have_fewer() -> None:
    config: dict[str, Any] = {"selector": "threshold", "select": {"threshold": 1.7}}
    edges, kept_above = edges_of(FEWER), thresholds(config, FEWER)
    assert kept_above == {"fewer": 1.7}
    assert not thresholds({"selector": "magnitude", "select": {}}, FEWER)
    figure = draw_search(score_rows(edges, 3), edges, kept_above=kept_above)
    for axes in figure.axes:
        lines = [line for line in axes.lines if list(line.get_ydata()) == [1.7, 1.7]]
        assert len(lines) == axes.get_title().startswith("fewer")
        assert axes.get_ylim()[1] > 1.7
    assert legend(figure)[-1] == "kept from 1.7 on"
    assert_laid_out(figure)
    figure = draw_search(score_rows(edges, 3), edges, kept_above={"fewer": 70.0})
    assert legend(figure)[-1] == "kept from 70 on, out of view"
    assert figure.axes[0].get_ylim()[1] < 2


def test_kinds_that_are_chains_share_their_rows_under_the_names_of_the_picture() -> None:
    edges = {"a": [(1, 0, MOBILE)], "b": [(1, 0, MOBILE), (2, 1, MOBILE)], "c": [(1, 0, MOBILE), (2, 1, MOBILE)]}
    figure = draw_search(score_rows(edges, 2), edges)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b.1", "b.2", "c.1", "c.2"]
    assert not any(axes.collections for axes in figure.axes)
    assert_laid_out(figure)
