"""The figure of a confusion matrix: counts, shares and readable names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from report.figures import inside, laid_out
from supernet.report.plots import draw_confusion


def slow(value: int) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


def assert_readable(figure: Figure) -> None:
    """Check that no text leaves the figure, and that no name of a class covers another."""
    renderer = laid_out(figure)
    assert all(inside(axes.get_tightbbox(renderer), figure.bbox) for axes in figure.axes)
    for labels in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [label.get_window_extent(renderer) for label in labels if label.get_text()]
        assert all(inside(box, figure.bbox) for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def names(figure: Figure) -> list[list[str]]:
    axes = figure.axes[0]
    return [[label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())]


def written(figure: Figure) -> dict[tuple[int, int], str]:
    """Return the counts by row and column."""
    texts = figure.axes[0].texts
    return {(int(y), int(x)): text.get_text() for text in texts for x, y in [text.get_position()]}


def some(count: int, images: int = 100) -> list[list[int]]:
    shares = 0.4 / count + 0.6 * np.eye(count)
    return np.random.default_rng(count).multinomial(images, shares).tolist()


def test_a_row_is_a_class_its_colour_a_share_and_its_text_a_count() -> None:
    figure = draw_confusion([[8, 2, 0], [1, 0, 3], [0, 0, 0]], ["cat", "dog", "none"])
    assert_readable(figure)
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


@pytest.mark.parametrize("images", [10, slow(1000), slow(100_000), 10_000_000])
@pytest.mark.parametrize("count", [2, 5, 25])
def test_a_count_fits_into_its_cell(count: int, images: int) -> None:
    figure = draw_confusion(some(count, images), [str(i) for i in range(count)])
    assert_readable(figure)
    width = figure.axes[0].get_window_extent().width / count
    counts = {text.get_text(): text for text in figure.axes[0].texts}
    assert max(text.get_window_extent().width for text in counts.values()) <= width


@pytest.mark.parametrize("count", [2, slow(10), 25, 26, 60, 61, slow(100), slow(200), 1000])
def test_any_number_of_classes_is_drawn_without_clutter(count: int) -> None:
    figure = draw_confusion(some(count), [f"class number {i}" for i in range(count)])
    assert_readable(figure)
    assert bool(written(figure)) == (count <= 25)
    shown = names(figure)[0]
    assert names(figure)[1] == shown
    assert len(shown) == count if count <= 60 else 25 <= len(shown) <= 60
    assert max(figure.get_size_inches()) < 12


def test_long_names_lose_their_middle_and_strange_ones_are_drawn_as_they_are() -> None:
    given = ["a" * 20, "golden retriever, light", "golden retriever, dark.", "$x_1$", "<b> & {c}", "日本", ""]
    figure = draw_confusion(some(7), given)
    assert_readable(figure)
    cut = ["golden ret…er, light", "golden ret…er, dark."]
    assert names(figure)[0] == ["a" * 20, *cut, "$x_1$", "<b> & {c}", "#5", ""]
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_an_empty_matrix_is_white() -> None:
    figure = draw_confusion([[0, 0], [0, 0]], ["a", "b"])
    assert_readable(figure)
    assert not figure.axes[0].images[0].get_array().any()
