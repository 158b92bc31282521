from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as MplPath
from matplotlib.transforms import Bbox

from supernet.errors import UserError
from supernet.report.plots import colour, draw_cell, draw_diagnostics, draw_search, draw_trajectory, save
from supernet.spaces.genotype import Genotype

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
PAIRS = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
LEARNED = {"nor_conv_1x1", "nor_conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"}
DARTS_OPS = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3")
DARTS_PAIRS = tuple((target, source) for target in range(2, 6) for source in range(target))
NORMAL = (
    "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 1, skip_connect 0, skip_connect 0"
)
V2 = {
    "normal": f"{NORMAL}, dil_conv_3x3 2",
    "reduce": "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, max_pool_3x3 0, skip_connect 2, "
    "skip_connect 2, max_pool_3x3 1",
}


def nasbench(code: str) -> Genotype:
    return Genotype.of("nasbench201", {"cell": [(*pair, OPS[int(c)]) for pair, c in zip(PAIRS, code, strict=True)]})


def darts_v2() -> Genotype:
    cells = {kind: [edge.split() for edge in text.split(", ")] for kind, text in V2.items()}
    return Genotype.of(
        "darts",
        {kind: [(2 + i // 2, int(source), op) for i, (op, source) in enumerate(c)] for kind, c in cells.items()},
    )


def full_darts() -> Genotype:
    ops = itertools.cycle(DARTS_OPS)
    return Genotype.of("darts", {"normal": [(*pair, op) for pair, op in zip(DARTS_PAIRS, ops, strict=False)]})


def some_darts(seed: int) -> Genotype:
    rng = np.random.default_rng(seed)
    pairs = [(node, int(source)) for node in range(2, 6) for source in rng.choice(node, 2, replace=False)]
    return Genotype.of("darts", {"normal": [(*pair, str(rng.choice(DARTS_OPS))) for pair in pairs]})


def arrows(axes: Axes) -> list[FancyArrowPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def nodes(axes: Axes) -> list[Circle]:
    return [patch for patch in axes.patches if isinstance(patch, Circle)]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def weight_rows(
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


# --- draw_cell


def test_a_cell_shows_every_node_and_edge_with_its_operation() -> None:
    (axes,) = draw_cell(nasbench("012340"), LEARNED).axes
    assert len(arrows(axes)) == 6
    assert len(nodes(axes)) == 4
    assert sorted(texts(axes)) == sorted(["0", "1", "2", "3", "in", "out", *(OPS[i] for i in (0, 1, 2, 3, 4, 0))])


def test_thickness_and_dots_tell_the_kinds_of_operation_apart() -> None:
    figure = draw_cell(nasbench("012340"), LEARNED)
    by_colour = {arrow.get_edgecolor(): arrow for arrow in arrows(figure.axes[0])}
    assert len(by_colour) == 5
    none, skip, conv1, conv3, pool = (next(a for a in by_colour.values() if same_colour(a, op)) for op in OPS)
    assert none.get_linestyle() == ":"
    assert conv1.get_linewidth() == conv3.get_linewidth() > 2 * skip.get_linewidth() == 2 * pool.get_linewidth()
    assert none.get_linewidth() < skip.get_linewidth()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["has weights", "no weights", "none"]


def same_colour(arrow: FancyArrowPatch | FancyBboxPatch, op: str) -> bool:
    return np.allclose(arrow.get_edgecolor()[:3], [int(colour(op)[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_the_legend_names_only_what_is_drawn() -> None:
    figure = draw_cell(nasbench("111111"), LEARNED)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no weights"]


def test_arrows_run_from_source_to_target() -> None:
    (axes,) = draw_cell(nasbench("333333"), LEARNED).axes
    centres = {i: circle.get_center() for i, circle in enumerate(nodes(axes))}
    ends = set()
    for arrow in arrows(axes):
        vertices = axes.transData.inverted().transform(way(axes, arrow))
        source, target = (min(centres, key=lambda n: math.dist(centres[n], point)) for point in vertices[[0, -1]])
        ends.add((target, source))
    assert ends == set(PAIRS)


def way(axes: Axes, arrow: FancyArrowPatch) -> Any:
    """Return the points of the arrow's line in pixels; matplotlib gives only its outline in public."""
    return axes.transData.transform_path(arrow._path_original).to_polygons(closed_only=False)[0]


def test_long_edges_take_both_sides_of_the_line_of_nodes() -> None:
    (axes,) = draw_cell(nasbench("333333"), LEARNED).axes
    heights = [axes.transData.inverted().transform(way(axes, arrow))[:, 1] for arrow in arrows(axes)]
    sides = sorted(round(float(h.max() + h.min()), 2) for h in heights)
    assert sides[0] < 0 == sides[1] == sides[2] == sides[3] < sides[4] < sides[5]


def test_each_kind_of_cell_has_its_panel_and_title() -> None:
    figure = draw_cell(darts_v2(), LEARNED)
    assert [axes.get_label() for axes in figure.axes] == ["normal", "reduce"]
    for axes, kind in zip(figure.axes, ("normal", "reduce"), strict=True):
        assert kind in texts(axes)
        assert len(arrows(axes)) == 8
        assert len(nodes(axes)) == 6
        assert texts(axes).count("in") == 2
        assert "out" not in texts(axes)


CELLS = {
    **{code: nasbench(code) for code in ("333133", "111111", "303101", "012340", "222222")},
    "darts_v2": darts_v2(),
    "full": full_darts(),
    **{f"darts{seed}": some_darts(seed) for seed in range(12)},
    "long names": Genotype.of(
        "x", {"cell": [(1, 0, "a_very_long_name_of_an_operation"), (2, 0, "noise"), (2, 1, "b")]}
    ),
    "one edge": Genotype.of("x", {"cell": [(1, 0, "conv")]}),
    "same edge twice": Genotype.of("x", {"cell": [(1, 0, "conv"), (1, 0, "pool")]}),
}


@pytest.mark.parametrize("genotype", CELLS.values(), ids=CELLS.keys())
def test_no_label_overlaps_anything_and_nothing_is_cut_off(genotype: Genotype) -> None:
    figure = draw_cell(genotype, LEARNED)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for axes in figure.axes:
        lines = [MplPath(way(axes, arrow)) for arrow in arrows(axes)]
        rims = [circle.get_window_extent(renderer) for circle in nodes(axes)]
        boxes = [text.get_window_extent(renderer) for text in axes.texts if not text.get_text().isdigit()]
        for box in boxes:
            assert not any(line.intersects_bbox(box.padded(1.8), filled=False) for line in lines), box  # half a line
            assert not any(touch(box, rim) for rim in rims)
        assert not any(touch(a, b) for a, b in itertools.combinations(boxes + rims, 2))
        assert all(inside(box, figure.bbox) for box in boxes + rims)
        assert all(inside(line.get_extents(), figure.bbox) for line in lines)
        legend = figure.legends[0].get_window_extent(renderer)
        assert not any(touch(legend, box) for box in boxes + rims)
        assert not any(line.intersects_bbox(legend, filled=False) for line in lines)


def touch(a: Bbox, b: Bbox) -> bool:
    return bool(a.overlaps(b))


def inside(inner: Bbox, outer: Bbox) -> bool:
    return inner.x0 >= outer.x0 and inner.x1 <= outer.x1 and inner.y0 >= outer.y0 and inner.y1 <= outer.y1


@pytest.mark.parametrize("genotype", CELLS.values(), ids=CELLS.keys())
def test_no_edge_runs_through_a_node_that_it_does_not_join(genotype: Genotype) -> None:
    for axes in draw_cell(genotype, LEARNED).axes:
        for arrow in arrows(axes):
            points = axes.transData.inverted().transform(MplPath(way(axes, arrow)).interpolated(50).vertices)
            near = sum(bool((np.hypot(*(points - c.get_center()).T) < c.radius + 0.01).any()) for c in nodes(axes))
            assert near == 2


# --- draw_cell of a macro space

MOBILE = ("mobile3_3x3", "skip_connect", "mobile6_5x5", "none")


def chain(count: int, ops: tuple[str, ...] = MOBILE) -> Genotype:
    return Genotype.of("macro", {f"{i:02}": [(1, 0, ops[i % len(ops)])] for i in range(1, count + 1)})


def boxes(axes: Axes) -> list[FancyBboxPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def middle(box: FancyBboxPatch) -> tuple[float, float]:
    return box.get_x() + box.get_width() / 2, round(box.get_y() + box.get_height() / 2, 6)


def names_and_ops(axes: Axes) -> list[tuple[str, str]]:
    """Return the name above each box and the operation inside, in the order in which one reads them."""
    found = []
    for x, y in sorted(map(middle, boxes(axes)), key=lambda place: (-place[1], place[0])):
        here = [text for text in axes.texts if text.get_position()[0] == x and abs(text.get_position()[1] - y) < 0.3]
        name, op = sorted(here, key=lambda text: -text.get_position()[1])
        found.append((name.get_text(), op.get_text()))
    return found


@pytest.mark.parametrize("count", [2, 4, 7, 13, 25])
def test_a_macro_space_is_one_chain_that_is_read_like_text(count: int) -> None:
    genotype = chain(count)
    figure = draw_cell(genotype, LEARNED)
    (axes,) = figure.axes
    assert names_and_ops(axes) == [(kind, cell[0].op) for kind, cell in genotype.cells]
    assert len(arrows(axes)) == count + 1
    assert (texts(axes).count("in"), texts(axes).count("out")) == (1, 1)
    assert max(figure.get_size_inches()) < 9.5
    lengths = list(Counter(middle(box)[1] for box in boxes(axes)).values())
    assert lengths == [*[lengths[0]] * (len(lengths) - 1), lengths[-1]]
    assert lengths[-1] <= lengths[0]


def test_the_boxes_tell_the_kinds_of_operation_apart_as_arrows_do() -> None:
    figure = draw_cell(chain(4), {"mobile3_3x3", "mobile6_5x5"})
    thin, thick, dotted, thick_too = boxes(figure.axes[0])
    assert thick.get_linewidth() == thick_too.get_linewidth() > 2 * thin.get_linewidth() > 2 * dotted.get_linewidth()
    assert (thin.get_linestyle(), dotted.get_linestyle()) == ("-", ":")
    assert [same_colour(box, op) for box, op in ((thin, MOBILE[1]), (thick, MOBILE[2]))] == [True, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["has weights", "no weights", "none"]


def test_positions_stand_in_the_order_that_is_asked_for() -> None:
    genotype = Genotype.of("macro", {kind: [(1, 0, f"op of {kind}")] for kind in ("neck", "body", "stem")})
    (axes,) = draw_cell(genotype, LEARNED, ["stem", "body", "neck"]).axes
    assert [name for name, _ in names_and_ops(axes)] == ["stem", "body", "neck"]


def mixed() -> Genotype:
    cells = {"stem": [(1, 0, "skip_connect")], "body": nasbench("012340")["cell"], "neck": [(1, 0, "nor_conv_3x3")]}
    return Genotype.of("mixed", cells)


def test_positions_beside_other_cells_are_boxes_that_claim_no_order() -> None:
    body, positions = draw_cell(mixed(), LEARNED).axes
    assert body.get_label() == "body"
    assert (len(nodes(body)), len(arrows(body))) == (4, 6)
    assert names_and_ops(positions) == [("neck", "nor_conv_3x3"), ("stem", "skip_connect")]
    assert not arrows(positions)


@pytest.mark.parametrize("edge", [(2, 0), (2, 1)])
def test_an_edge_from_one_of_two_inputs_and_a_lone_position_keep_their_panels(edge: tuple[int, int]) -> None:
    figure = draw_cell(Genotype.of("x", {"a": [(*edge, "conv")], "b": [(1, 0, "conv")]}), LEARNED)
    assert [axes.get_label() for axes in figure.axes] == ["a", "b"]
    assert [len(nodes(axes)) for axes in figure.axes] == [3, 2]


CHAINS = {
    **{str(count): chain(count) for count in (2, 3, 8, 20, 25)},
    "short names": chain(3, ("a", "none", "b")),
    "long operations": chain(20, ("mobile_bottleneck_3x3_expand6", "mobile_bottleneck_5x5_expand3", "none", "b")),
    "one long operation": chain(2, ("x" * 150, "b")),
    "long position": Genotype.of("x", {"stem_of_the_whole_network": [(1, 0, "a")], "body": [(1, 0, "b")]}),
    "mixed": mixed(),
}


@pytest.mark.parametrize("genotype", CHAINS.values(), ids=CHAINS.keys())
def test_nothing_in_a_chain_overlaps_or_is_cut_off(genotype: Genotype) -> None:
    figure = draw_cell(genotype, {"a", *MOBILE[::2]})
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    axes = figure.axes[-1]
    frames = [box.get_window_extent(renderer).padded(1.8) for box in boxes(axes)]  # half a line
    found = [text.get_window_extent(renderer) for text in axes.texts]
    held = [text for text in found if any(inside(text, network_size.padded(-3.6)) for network_size in frames)]
    legend = figure.legends[0].get_window_extent(renderer)
    free = [*(text for text in found if text not in held), *(a.get_window_extent(renderer) for a in arrows(axes))]
    assert len(held) == len(frames)
    assert not any(touch(a, b) for a, b in itertools.combinations([*frames, *free, legend], 2))
    assert all(inside(box, figure.bbox) for box in [*frames, *free, legend])


# --- colour


def test_known_operations_have_colours_of_their_own() -> None:
    names = [*OPS, *DARTS_OPS, "dil_conv_5x5", "noise"]
    assert len({colour(name) for name in names}) == len(set(names))


def test_an_unknown_name_keeps_its_colour_in_another_process() -> None:
    code = "from supernet.report.plots import colour; print(colour('my_op'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == colour("my_op")


# --- draw_search


def test_lines_are_the_rows_weights() -> None:
    rows = weight_rows(NASBENCH_EDGES, 7)
    figure = draw_search(rows, NASBENCH_EDGES)
    assert [axes.get_title() for axes in figure.axes] == [f"{target} <- {source}" for target, source in PAIRS]
    for edge, axes in enumerate(figure.axes):
        assert [line.get_label() for line in axes.lines] == list(OPS)
        for column, line in enumerate(axes.lines):
            assert line.get_color() == colour(OPS[column])
            assert list(line.get_xdata()) == list(range(1, 8))
            assert list(line.get_ydata()) == [row["op_scores"]["cell"][edge][column] for row in rows]
        assert axes.get_ylim() == (
            0,
            pytest.approx(1.05 * max(map(max, itertools.chain(*(r["op_scores"]["cell"] for r in rows))))),
        )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(OPS)


def test_padding_is_not_drawn() -> None:
    edges = {"cell": [(1, 0, ("skip_connect", "conv")), (2, 0, ("conv",)), (2, 1, ("skip_connect", "conv", "pool"))]}
    figure = draw_search(weight_rows(edges, 3), edges)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 3]
    assert figure.axes[0].get_ylim()[0] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["skip_connect", "conv", "pool"]


def test_larger_weights_share_a_wider_axis() -> None:
    rows = weight_rows(NASBENCH_EDGES, 3)
    rows[2]["op_scores"]["cell"][5][0] = 4.0
    limits = {axes.get_ylim() for axes in draw_search(rows, NASBENCH_EDGES).axes}
    ((low, high),) = limits
    assert low == 0
    assert high == pytest.approx(4.2)


def test_the_known_accuracy_has_a_panel_on_top() -> None:
    rows = weight_rows(NASBENCH_EDGES, 5)
    for row, value in zip(rows, (90.0, None, math.nan, 54.0), strict=False):
        row["table"] = {"c10_test": value}
    figure = draw_search(rows, NASBENCH_EDGES, "c10_test")
    assert len(figure.axes) == 7
    top = figure.axes[0]
    assert top.get_title() == "test accuracy of the derived architecture on CIFAR-10 (table)"
    np.testing.assert_array_equal(top.lines[0].get_ydata(), [90.0, math.nan, math.nan, 54.0, math.nan])
    render(figure)
    assert top.get_position().x1 == pytest.approx(figure.axes[3].get_position().x1, abs=0.02)
    assert top.get_position().y0 > figure.axes[1].get_position().y1


@pytest.mark.parametrize("known", [None, {}, {"c10_test": None}, {"c10_test": math.nan}])
def test_without_a_known_accuracy_there_is_no_panel_for_it(known: Any) -> None:
    figure = draw_search(weight_rows(NASBENCH_EDGES, 2, table=known), NASBENCH_EDGES, "c10_test")
    assert len(figure.axes) == 6


def test_other_known_values_are_named_too() -> None:
    rows = weight_rows(NASBENCH_EDGES, 2, table={"in16_valid": 40.0, "score": 1.0})
    titles = [draw_search(rows, NASBENCH_EDGES, key).axes[0].get_title() for key in ("in16_valid", "score")]
    assert titles[0] == "validation accuracy of the derived architecture on ImageNet16-120 (table)"
    assert titles[1] == "score of the derived architecture (table)"


def test_a_single_row_is_visible() -> None:
    rows = weight_rows(NASBENCH_EDGES, 1, table={"c10_test": 90.0})
    figure = draw_search(rows, NASBENCH_EDGES, "c10_test")
    render(figure)
    assert all(line.get_marker() == "." for axes in figure.axes for line in axes.lines)
    assert [tick for tick in figure.axes[-1].get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_the_points_of_a_single_row_stand_side_by_side() -> None:
    figure = draw_search(weight_rows(NASBENCH_EDGES, 1), NASBENCH_EDGES)
    for axes in figure.axes:
        places = [float(line.get_xdata()[0]) for line in axes.lines]
        assert places == sorted(places)
        assert min(np.diff(places)) > 0.05
        assert np.mean(places) == pytest.approx(1)
        assert axes.get_xlim()[0] < places[0] < places[-1] < axes.get_xlim()[1]


def test_many_edges_and_kinds_and_missing_numbers() -> None:
    rows = weight_rows(DARTS_EDGES, 3)
    rows[1]["op_scores"]["reduce"][0][0] = None
    rows[2]["op_scores"]["normal"][13][1] = math.nan
    figure = draw_search(rows, DARTS_EDGES)
    assert_laid_out(figure)
    assert max(figure.get_size_inches()) < 10
    assert len(figure.axes) == 28
    assert figure.axes[0].get_title() == "normal 2 <- 0"
    assert figure.axes[27].get_title() == "reduce 5 <- 4"
    boxes = [axes.get_position() for axes in figure.axes]
    assert not any(touch(a, b) for a, b in itertools.combinations(boxes, 2))


def positions(count: int, ops: tuple[str, ...] = MOBILE) -> dict[str, list[tuple[int, int, tuple[str, ...]]]]:
    return {f"{i:02}": [(1, 0, ops)] for i in range(1, count + 1)}


@pytest.mark.parametrize(("count", "lines"), [(2, 1), (3, 1), (4, 2), (8, 3), (10, 2), (20, 4), (25, 5)])
def test_kinds_with_a_single_edge_share_a_grid(count: int, lines: int) -> None:
    figure = draw_search(weight_rows(positions(count), 3), positions(count))
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
    found = {axes.get_title(): row(axes) for axes in draw_search(weight_rows(edges, 3), edges).axes}
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
def test_the_legend_and_titles_are_neither_cut_off_nor_in_the_way(edges: Any) -> None:
    assert_laid_out(draw_search(weight_rows(edges, 3), edges))


def assert_laid_out(figure: Figure) -> None:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    legend = figure.legends[0].get_window_extent(renderer)
    panels = [axes.get_tightbbox(renderer) for axes in figure.axes]
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes]
    assert all(inside(box, figure.bbox) for box in [legend, *panels, *titles])
    assert not any(touch(legend, panel) for panel in panels)
    assert not any(touch(a, b) for a, b in itertools.combinations(titles, 2))
    assert all(axes.get_window_extent(renderer).height > 0.7 * figure.dpi for axes in figure.axes)


def test_operations_of_one_colour_have_lines_of_different_styles() -> None:
    names = [f"op{i}" for i in range(200)]
    twins = tuple(name for name in names if colour(name) == colour(names[0]))[:3]
    edges = {"cell": [(1, 0, (*twins, "skip_connect"))]}
    figure = draw_search(weight_rows(edges, 3), edges)
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--", ":", "-"]
    assert [line.get_linestyle() for line in figure.legends[0].get_lines()] == ["-", "--", ":", "-"]


def test_no_rows_make_empty_panels() -> None:
    figure = draw_search([], NASBENCH_EDGES, "c10_test")
    render(figure)
    assert len(figure.axes) == 6


def render(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()


# --- draw_trajectory


def test_the_mean_and_band_are_over_the_seeds() -> None:
    runs = {"DARTS": [[80.0, 60.0], [90.0, 50.0, 40.0]], "GDAS": [[91.0, 92.0, None]]}
    figure = draw_trajectory(runs, {"best in the table": 94.37})
    (axes,) = figure.axes
    labelled = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    assert set(labelled) == {"DARTS", "GDAS", "best in the table"}
    np.testing.assert_allclose(labelled["DARTS"].get_ydata(), [85, 55, 40])
    np.testing.assert_array_equal(labelled["GDAS"].get_ydata(), [91, 92, math.nan])
    assert list(labelled["DARTS"].get_xdata()) == [1, 2, 3]
    assert list(labelled["best in the table"].get_ydata()) == [94.37, 94.37]
    assert len(axes.lines) == 2 + 1 + 2 + 1
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(85 + math.sqrt(50))
    render(figure)


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": [[]]}, {"a": [[50.0]]}, {"a": [[math.nan], [None]]}])
def test_few_or_no_numbers_do_not_fail(runs: Any) -> None:
    render(draw_trajectory(runs))


# --- save


def figures() -> Iterator[Figure]:
    yield draw_cell(nasbench("303101"), LEARNED)
    yield draw_cell(chain(7), LEARNED)
    yield draw_search(weight_rows(NASBENCH_EDGES, 3), NASBENCH_EDGES)
    yield draw_trajectory({"DARTS": [[80.0, 60.0], [90.0, 50.0]]})


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes_and_one_file(tmp_path: Path, suffix: str) -> None:
    for number, (first, second) in enumerate(zip(figures(), figures(), strict=True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        save(first, folder / f"a.{suffix}")
        save(second, str(folder / f"b.{suffix}"))
        assert (folder / f"a.{suffix}").read_bytes() == (folder / f"b.{suffix}").read_bytes()
        assert len(list(folder.iterdir())) == 2


def test_an_svg_has_no_date(tmp_path: Path) -> None:
    save(draw_cell(nasbench("303101"), LEARNED), tmp_path / "cell.svg")
    text = (tmp_path / "cell.svg").read_text()
    assert "dc:date" not in text
    assert "nor_conv_3x3" in text


def test_another_suffix_is_a_clear_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.svg or \.png"):
        save(Figure(), tmp_path / "cell.gif")
    assert not list(tmp_path.iterdir())


def test_pyplot_and_torch_stay_out() -> None:
    code = "import sys, supernet.report.plots; print([m for m in ('matplotlib.pyplot', 'torch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


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
    left, right, cosine = draw_diagnostics(rows, {"nor_conv_3x3"}).axes
    assert left.get_lines()[0].get_ydata().tolist() == [2.0, 1.0, 0.0]
    assert cosine.get_lines()[0].get_ydata().tolist() == pytest.approx([0.0, 0.1, 0.2])
    lines = {line.get_label(): line.get_ydata() for line in right.get_lines()}
    assert lines["mean, without"].tolist() == lines["skip_connect"].tolist() == [0.0, 1.0, 2.0]
    assert lines["mean, with weights"].tolist() == [-2.0, -2.0, -2.0]


def test_diagnostics_of_epochs_too_short_to_be_measured() -> None:
    rows = [{"epoch": 1, "diagnostics": {}}, {"epoch": 2, "diagnostics": {"correlation": 1.0, "gradient of conv": 2.0}}]
    right = draw_diagnostics(rows, {"conv"}).axes[1]
    assert np.isnan(right.get_lines()[0].get_ydata()[0])
    assert right.get_lines()[0].get_ydata()[1] == 2.0
    FigureCanvasAgg(draw_diagnostics([{"epoch": 1, "diagnostics": {}}], {"conv"})).draw()
