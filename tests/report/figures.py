"""Checks of a figure's layout, for the tests of all figures."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox


def laid_out(figure: Figure) -> RendererAgg:
    """Lay the figure out without drawing its artists, and return a renderer for measuring."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    for axes in figure.axes:
        axes.apply_aspect()
    return FigureCanvasAgg(figure).get_renderer()


def render(figure: Figure) -> None:
    """Draw the figure's pixels."""
    FigureCanvasAgg(figure).draw()


def legend(figure: Figure) -> list[str]:
    """Return the labels of the figure's only legend."""
    (box,) = figure.legends
    return [text.get_text() for text in box.get_texts()]


def assert_laid_out(figure: Figure, height: float = 0.7) -> None:
    """Check that nothing is cut off or covered, and that every panel is at least `height` inches high."""
    renderer = laid_out(figure)
    panels = [axes.get_tightbbox(renderer) for axes in figure.axes]
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    around = [artist.get_window_extent(renderer) for artist in (*figure.legends, *figure.texts)]
    assert all(inside(box, figure.bbox) for box in (*panels, *titles, *around))
    assert not any(box.overlaps(panel) for box in around for panel in panels)
    for boxes in (around, titles, panels):
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(axes.get_window_extent(renderer).height > height * figure.dpi for axes in figure.axes)


def inside(inner: Bbox, outer: Bbox) -> bool:
    """Return whether a box lies within another."""
    return inner.x0 >= outer.x0 and inner.x1 <= outer.x1 and inner.y0 >= outer.y0 and inner.y1 <= outer.y1
