"""The positions of a macro space, whose cells have one edge each, as a chain of boxes with their operations."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from supernet.report.plots.style import DARK, LINES, colour, line_kind, text_width

# Lengths are in inches. The first box begins at x = 0, and the first row is centred on y = 0. Rows run downwards and
# are read like text: each begins with an arrow from the row above.

_BOX, _GAP, _ROW, _PAD = 0.32, 0.27, 0.72, 0.12  # a box's height, the gaps between boxes, a row, the margins in a box
TOP = 0.42  # the y of the upper edge of the drawing
_PAGE = 8.0  # the width of a row, unless a single box is wider
_POINTS = 8.0  # the size of names and operations


class ChainDrawing(NamedTuple):
    """The layout of the positions: `columns` in a row, in boxes of width `box`."""

    ops: Mapping[str, str]  # the operation of each position, in order
    columns: int
    box: float

    @classmethod
    def of(cls, ops: Mapping[str, str]) -> ChainDrawing:
        """Spread the positions evenly over as few rows as the width of a page allows."""
        texts = [
            *(text_width(kind, _POINTS, "bold") for kind in ops),
            *(text_width(op, _POINTS) for op in ops.values()),
        ]
        box = 2 * _PAD + max(texts, default=0.0)
        most = max(1, int((_PAGE + _GAP) / (box + _GAP)))
        return cls(ops, math.ceil(len(ops) / max(1, math.ceil(len(ops) / most))), box)

    @property
    def width(self) -> float:
        """The inches from the first box to the last."""
        return self.columns * (self.box + _GAP) - _GAP if self.ops else 0.0

    @property
    def height(self) -> float:
        """The inches of all rows together."""
        return _ROW * math.ceil(len(self.ops) / self.columns) if self.ops else 0.0

    def draw(self, axes: Axes, learned: Collection[str], *, linked: bool) -> None:
        """Draw a box per position; if `linked`, with arrows from the input through all of them to the output."""
        for number, (kind, op) in enumerate(self.ops.items()):
            row, column = divmod(number, self.columns)
            x, y = column * (self.box + _GAP), -row * _ROW
            self._draw_box(axes, x, y, op, learned)
            axes.text(x + self.box / 2, y + _BOX / 2 + 0.06, kind, ha="center", weight="bold", size=_POINTS)
            if linked:
                _draw_link(axes, x, y)
        if linked:
            _draw_link(axes, x + self.box + _GAP, y)
            axes.text(-_GAP - 0.05, 0, "in", ha="right", va="center_baseline")
            axes.text(x + self.box + _GAP + 0.05, y, "out", ha="left", va="center_baseline")

    def _draw_box(self, axes: Axes, x: float, y: float, op: str, learned: Collection[str]) -> None:
        width, style = LINES[line_kind(op, learned)]
        box = FancyBboxPatch((x, y - _BOX / 2), self.box, _BOX, boxstyle="round,pad=0,rounding_size=0.06")
        box.set(facecolor="white", edgecolor=colour(op), linewidth=width, linestyle=style)
        axes.add_patch(box)
        shade = "#888888" if op == "none" else DARK
        axes.text(x + self.box / 2, y, op, ha="center", va="center_baseline", size=_POINTS, color=shade)


def _draw_link(axes: Axes, x: float, y: float) -> None:
    """Draw the arrow whose head is at (x, y)."""
    arrow = FancyArrowPatch((x - _GAP, y), (x, y), arrowstyle="-|>", shrinkA=2, shrinkB=2, mutation_scale=8)
    arrow.set(color="#777777", linewidth=0.9)
    axes.add_patch(arrow)
