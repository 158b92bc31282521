"""The figure of an architecture: its nodes, edges and positions, and a layout in which nothing overlaps."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as MplPath

from report.figures import inside, laid_out, legend
from supernet.report.plots import colour, draw_cell, outputs_of
from supernet.spaces import space
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
    assert legend(figure) == ["has weights", "no weights", "none"]


def test_a_cell_whose_nodes_are_its_output_side_by_side_has_an_output_of_its_own() -> None:
    genotype, darts = darts_v2(), space("darts")
    ends = outputs_of(darts.cells, genotype)
    assert ends == {"normal": (2, 3, 4, 5), "reduce": (2, 3, 4, 5)}
    for axes in draw_cell(genotype, LEARNED, darts.cells, ends).axes:
        assert len(arrows(axes)) == 8 + 4
        assert len(nodes(axes)) == 7
        assert texts(axes).count("out") == 1
    assert legend(draw_cell(genotype, LEARNED, darts.cells, ends))[-1] == "to the output"
    assert outputs_of(space("nasbench201").cells, nasbench("333333")) == {}


def test_an_input_that_no_edge_reads_is_part_of_the_output_and_clear_of_the_title() -> None:
    nao = space("nao")
    rows = {kind: [[1.0 if edge.source else 0.0] * len(edge.ops) for edge in c.edges] for kind, c in nao.cells.items()}
    genotype = nao.derive(rows)
    ends = outputs_of(nao.cells, genotype)
    assert all(0 in some for some in ends.values())
    figure = draw_cell(genotype, LEARNED, nao.cells, ends)
    renderer = laid_out(figure)
    for axes in figure.axes:
        title = next(text for text in axes.texts if text.get_text() == axes.get_label())
        around = [node.get_window_extent(renderer) for node in nodes(axes)]
        assert not any(title.get_window_extent(renderer).overlaps(box) for box in around)


def same_colour(arrow: FancyArrowPatch | FancyBboxPatch, op: str) -> bool:
    return np.allclose(arrow.get_edgecolor()[:3], [int(colour(op)[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_the_legend_names_only_what_is_drawn() -> None:
    figure = draw_cell(nasbench("111111"), LEARNED)
    assert legend(figure) == ["no weights"]


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
    """Return the points of the arrow's line in pixels; Matplotlib's public methods give only its outline."""
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
    **{f"darts{seed}": some_darts(seed) for seed in range(4)},
    "long names": Genotype.of(
        "x", {"cell": [(1, 0, "a_very_long_name_of_an_operation"), (2, 0, "noise"), (2, 1, "b")]}
    ),
    "one edge": Genotype.of("x", {"cell": [(1, 0, "conv")]}),
    "same edge twice": Genotype.of("x", {"cell": [(1, 0, "conv"), (1, 0, "pool")]}),
}


MORE = [pytest.param(some_darts(seed), id=f"darts{seed}", marks=pytest.mark.slow) for seed in range(4, 12)]


@pytest.fixture(scope="module", params=[*(pytest.param(cell, id=name) for name, cell in CELLS.items()), *MORE])
def figure(request: pytest.FixtureRequest) -> Figure:
    return draw_cell(request.param, LEARNED)


def test_no_label_overlaps_anything_and_nothing_is_cut_off(figure: Figure) -> None:
    renderer = laid_out(figure)
    for axes in figure.axes:
        lines = [MplPath(way(axes, arrow)) for arrow in arrows(axes)]
        rims = [circle.get_window_extent(renderer) for circle in nodes(axes)]
        boxes = [text.get_window_extent(renderer) for text in axes.texts if not text.get_text().isdigit()]
        for box in boxes:
            assert not any(line.intersects_bbox(box.padded(1.8), filled=False) for line in lines), box  # half a line
            assert not any(box.overlaps(rim) for rim in rims)
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes + rims, 2))
        assert all(inside(box, figure.bbox) for box in boxes + rims)
        assert all(inside(line.get_extents(), figure.bbox) for line in lines)
        below = figure.legends[0].get_window_extent(renderer)
        assert not any(below.overlaps(box) for box in boxes + rims)
        assert not any(line.intersects_bbox(below, filled=False) for line in lines)


def test_no_edge_runs_through_a_node_that_it_does_not_join(figure: Figure) -> None:
    for axes in figure.axes:
        for arrow in arrows(axes):
            points = axes.transData.inverted().transform(MplPath(way(axes, arrow)).interpolated(50).vertices)
            near = sum(bool((np.hypot(*(points - c.get_center()).T) < c.radius + 0.01).any()) for c in nodes(axes))
            assert near == 2


# --- a macro space

MOBILE = ("mobile3_3x3", "skip_connect", "mobile6_5x5", "none")


def chain(count: int, ops: tuple[str, ...] = MOBILE) -> Genotype:
    return Genotype.of("macro", {f"{i:02}": [(1, 0, ops[i % len(ops)])] for i in range(1, count + 1)})


def boxes(axes: Axes) -> list[FancyBboxPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def middle(box: FancyBboxPatch) -> tuple[float, float]:
    return box.get_x() + box.get_width() / 2, round(box.get_y() + box.get_height() / 2, 6)


def names_and_ops(axes: Axes) -> list[tuple[str, str]]:
    """Return the name above each box and the operation inside, in reading order."""
    found = []
    for x, y in sorted(map(middle, boxes(axes)), key=lambda place: (-place[1], place[0])):
        here = [text for text in axes.texts if text.get_position()[0] == x and abs(text.get_position()[1] - y) < 0.3]
        name, op = sorted(here, key=lambda text: -text.get_position()[1])
        found.append((name.get_text(), op.get_text()))
    return found


@pytest.mark.parametrize("count", [2, 4, 7, 13, 25])
def test_a_macro_space_is_one_chain_in_reading_order(count: int) -> None:
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
    assert legend(figure) == ["has weights", "no weights", "none"]


def test_positions_are_in_the_order_of_the_argument() -> None:
    genotype = Genotype.of("macro", {kind: [(1, 0, f"op of {kind}")] for kind in ("neck", "body", "stem")})
    (axes,) = draw_cell(genotype, LEARNED, ["stem", "body", "neck"]).axes
    assert [name for name, _ in names_and_ops(axes)] == ["stem", "body", "neck"]


def mixed() -> Genotype:
    cells = {"stem": [(1, 0, "skip_connect")], "body": nasbench("012340")["cell"], "neck": [(1, 0, "nor_conv_3x3")]}
    return Genotype.of("mixed", cells)


def test_positions_beside_other_cells_are_boxes_without_arrows() -> None:
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
    renderer = laid_out(figure)
    axes = figure.axes[-1]
    frames = [box.get_window_extent(renderer).padded(1.8) for box in boxes(axes)]  # half a line
    found = [text.get_window_extent(renderer) for text in axes.texts]
    held = [text for text in found if any(inside(text, frame.padded(-3.6)) for frame in frames)]
    below = figure.legends[0].get_window_extent(renderer)
    free = [*(text for text in found if text not in held), *(a.get_window_extent(renderer) for a in arrows(axes))]
    assert len(held) == len(frames)
    assert not any(a.overlaps(b) for a, b in itertools.combinations([*frames, *free, below], 2))
    assert all(inside(box, figure.bbox) for box in [*frames, *free, below])


def test_a_chain_of_edges_is_a_row_of_boxes() -> None:
    cells = {"a": [(1, 0, "op1")], "b": [(1, 0, "op2"), (2, 1, "op3")]}
    (axes,) = draw_cell(Genotype.of("macro", cells), LEARNED).axes
    assert names_and_ops(axes) == [("a", "op1"), ("b.1", "op2"), ("b.2", "op3")]
    assert len(arrows(axes)) == 4
