"""The picture of a confusion matrix: counts, shares, names that are readable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from supernet.report.plots import draw_confusion, save


def render(figure: Figure) -> None:
    """Draw the figure, and check that no name of a class leaves it or covers another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
        for box in boxes:
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y0 >= 0
            assert box.y1 <= figure.bbox.y1


def names(figure: Figure) -> list[list[str]]:
    axes = figure.axes[0]
    return [[label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())]


def written(figure: Figure) -> dict[tuple[int, int], str]:
    """The counts by row and column."""
    texts = figure.axes[0].texts
    return {(int(y), int(x)): text.get_text() for text in texts for x, y in [text.get_position()]}


def some(count: int, images: int = 100) -> list[list[int]]:
    draws = np.random.default_rng(count)
    return [
        draws.multinomial(images, np.full(count, 0.4 / count) + 0.6 * np.eye(count)[i]).tolist() for i in range(count)
    ]


def test_a_row_is_a_class_its_colour_a_share_and_its_text_a_count() -> None:
    figure = draw_confusion([[8, 2, 0], [1, 0, 3], [0, 0, 0]], ["cat", "dog", "none"])
    render(figure)
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[0.8, 0.2, 0], [0.25, 0, 0.75], [0, 0, 0]])
    assert written(figure) == {(0, 0): "8", (0, 1): "2", (1, 0): "1", (1, 2): "3"}
    assert names(figure) == [["cat", "dog", "none"]] * 2
    axes = figure.axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("class of the image", "predicted class")
    assert axes.get_ylim() == (2.5, -0.5)  # the first class is on top


def test_counts_are_white_on_dark_cells_only() -> None:
    figure = draw_confusion([[9, 1], [1, 9]], ["a", "b"])
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "#222222", "#222222", "white"]


@pytest.mark.parametrize("images", [10, 1000, 100_000, 10_000_000])
@pytest.mark.parametrize("count", [2, 5, 25])
def test_a_count_fits_into_its_cell(count: int, images: int) -> None:
    figure = draw_confusion(some(count, images), [str(i) for i in range(count)])
    render(figure)
    width = figure.axes[0].get_window_extent().width / count
    assert max(text.get_window_extent().width for text in figure.axes[0].texts) <= width


@pytest.mark.parametrize("count", [2, 10, 25, 26, 60, 61, 100, 200, 1000])
def test_any_number_of_classes_is_drawn_without_clutter(count: int) -> None:
    figure = draw_confusion(some(count), [f"class number {i}" for i in range(count)])
    render(figure)
    assert bool(written(figure)) == (count <= 25)
    shown = names(figure)[0]
    assert names(figure)[1] == shown
    assert len(shown) == count if count <= 60 else 25 <= len(shown) <= 60
    assert max(figure.get_size_inches()) < 12


def test_long_names_lose_their_middle_and_strange_ones_are_drawn_as_they_are() -> None:
    given = ["a" * 20, "golden retriever, light", "golden retriever, dark.", "$x_1$", "<b> & {c}", "日本", ""]
    figure = draw_confusion(some(7), given)
    render(figure)
    cut = ["golden ret…er, light", "golden ret…er, dark."]
    assert names(figure)[0] == ["a" * 20, *cut, "$x_1$", "<b> & {c}", "#5", ""]
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_an_empty_matrix_is_white() -> None:
    figure = draw_confusion([[0, 0], [0, 0]], ["a", "b"])
    render(figure)
    assert not figure.axes[0].images[0].get_array().any()


def test_the_same_matrix_gives_the_same_bytes(tmp_path) -> None:
    for name in ("a.svg", "b.svg"):
        save(draw_confusion(some(4), ["a", "b", "c", "d"]), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
