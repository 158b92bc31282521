"""All figures: their colours and files, and the accuracies of many searches."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from report.figures import assert_laid_out, legend, render
from supernet.errors import UserError
from supernet.report import plots
from supernet.report.plots import colour, draw_cell, draw_tabular, draw_trajectory, save
from supernet.spaces import SPACES
from supernet.spaces.genotype import Genotype

CELL = Genotype.of("x", {"cell": [(1, 0, "nor_conv_3x3"), (2, 0, "none"), (2, 1, "skip_connect")]})
CHAIN = Genotype.of("macro", {f"{i:02}": [(1, 0, f"op{i}")] for i in range(1, 8)})
EDGES = {"cell": [(1, 0, ("none", "skip_connect")), (2, 0, ("skip_connect", "conv"))]}
VALUES = {"cell": [[0.1, 0.9], [0.6, 0.4]]}


# --- colour


def test_known_operations_have_colours_of_their_own() -> None:
    convolutions = [f"{kind}_conv_{size}" for kind in ("sep", "dil") for size in ("3x3", "5x5")]
    others = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "noise"]
    assert len({colour(name) for name in (*convolutions, *others)}) == 11


@pytest.mark.parametrize("name", SPACES)
def test_no_two_operations_of_an_edge_look_alike(name: str) -> None:
    cells = SPACES[name].cells.values()
    assert all(len({*map(colour, edge.ops)}) == len(edge.ops) for cell in cells for edge in cell.edges)


def test_a_skip_connection_is_muted_whatever_its_name() -> None:
    assert colour("identity") == colour("skip_connect")


def test_another_process_gives_an_unknown_name_the_same_colour_without_pyplot_and_torch() -> None:
    code = "import sys; from supernet.report.plots import colour; print(colour('my_op'), *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *modules = run.stdout.split()
    assert first == colour("my_op")
    assert "matplotlib.figure" in modules
    assert not {"matplotlib.pyplot", "torch"} & set(modules)


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
    assert_laid_out(figure)


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": [[]]}, {"a": [[50.0]]}, {"a": [[math.nan], [None]]}])
def test_few_or_no_numbers_do_not_fail(runs: Any) -> None:
    render(draw_trajectory(runs))


def test_long_names_of_methods_are_not_cut_off() -> None:
    assert_laid_out(draw_trajectory({f"{i} {'a long name of a method ' * 3}": [[90.0, 91.0]] for i in range(3)}))


def test_many_methods_differ_in_colour_or_line() -> None:
    runs = {f"method {number}": [[90.0, 91.0]] for number in range(20)}
    drawn = [line for line in draw_trajectory(runs).axes[0].lines if str(line.get_label()) in runs]
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == len(runs)


def test_accuracies_far_below_the_others_are_counted_and_not_shown() -> None:
    runs = {"a": [[90.0 + epoch / 10 for epoch in range(20)] for _ in range(2)], "b": [[91.0] * 20]}
    assert draw_trajectory(runs).axes[0].get_ylim()[0] > 88
    runs["a"][1][7] = 10.0
    figure = draw_trajectory(runs, {"chance": 85.0})
    assert figure.axes[0].get_ylim() == pytest.approx((84.655, 92.245))
    assert "lower, not shown: 1" in legend(figure)
    assert_laid_out(figure)
    half = {"a": [[90.0] * 10 + [54.0] * 10]}  # a collapse is no outlier
    figure = draw_trajectory(half)
    assert figure.axes[0].get_ylim()[0] < 54
    assert legend(figure) == ["a"]


def test_means_of_early_queries_are_counted_and_not_shown() -> None:
    figure = draw_tabular({"a": [[40.0, 60.0, 70.0] + [90.0 + n / 100 for n in range(97)]]})
    assert figure.axes[0].get_ylim() == pytest.approx((90 - 0.048, 90.96 + 0.048))
    assert legend(figure) == ["a", "lower, not shown: 3"]


# --- save

FIGURES: dict[str, Callable[[], Figure]] = {
    "cell": lambda: draw_cell(CELL, {"nor_conv_3x3"}),
    "chain": lambda: draw_cell(CHAIN, {"op1"}),
    "search": lambda: plots.draw_search([{"epoch": epoch, "op_scores": VALUES} for epoch in (1, 2)], EDGES),
    "strength": lambda: plots.draw_strength(VALUES, {"cell": [[80.0, 90.0], [70.0, 60.0]]}, EDGES, 84.0),
    "trajectory": lambda: draw_trajectory({"DARTS": [[80.0, 60.0], [90.0, 50.0]]}),
    "training": lambda: plots.draw_training([{"epoch": 1, "loss": 1, "accuracy": 0.5}]),
    "confusion": lambda: plots.draw_confusion([[3, 1, 0], [1, 2, 2], [0, 0, 9]], ["a", "b", "c"]),
    "landscape": lambda: plots.draw_landscape([0, 1, 2], [0, 1], [[1, 2, 3], [3, 4, 9]], [(0.5, 0.5), (1, 1)]),
    "ranking": lambda: plots.draw_ranking([40.0, 50.0, 45.0], [80.0, 90.0, 70.0], [1e6, 2e6, 3e6], 0.3, None),
    "agreement": lambda: plots.draw_agreement({"DARTS": {"1<-0": {"none": 2, "left out": 1}, "2<-0": {"none": 3}}}),
    "costs": lambda: plots.draw_costs({"DARTS": [(80.0, 10, 2.5), (90.0, 12, 2.6)]}, ["passes", "seconds"]),
    "taus": lambda: plots.draw_taus({"pool of 16": [0.2, 0.4, 0.3], "none": [], "RSPS": [0.7, math.nan, 0.5]}),
}


@pytest.mark.parametrize(("name", "suffix"), [*((name, "svg") for name in FIGURES), ("cell", "png")])
def test_the_same_figure_gives_the_same_bytes_and_one_file(name: str, suffix: str, tmp_path: Path) -> None:
    save(FIGURES[name](), tmp_path / f"a.{suffix}")
    save(FIGURES[name](), str(tmp_path / f"b.{suffix}"))
    one, other = (file.read_bytes() for file in tmp_path.iterdir())
    assert one == other


def test_the_text_of_an_svg_is_text(tmp_path: Path) -> None:
    save(draw_cell(CELL, {"nor_conv_3x3"}), tmp_path / "cell.svg")
    assert re.search(r">nor_conv_\dx\d</text>|>skip_connect</text>", (tmp_path / "cell.svg").read_text())


def test_an_svg_has_no_date(tmp_path: Path) -> None:
    save(draw_cell(CELL, {"nor_conv_3x3"}), tmp_path / "cell.svg")
    text = (tmp_path / "cell.svg").read_text()
    assert "dc:date" not in text
    assert "nor_conv_3x3" in text


def test_another_suffix_is_a_clear_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.svg or \.png"):
        save(Figure(), tmp_path / "cell.gif")
    assert not list(tmp_path.iterdir())
