"""The picture of a confusion matrix: what the images of each class were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from supernet.report.plots.style import METHOD_COLOURS, STYLE

_COUNTED = 25  # classes up to which every cell has its count
_NAMED = 60  # classes up to which every one has its name
_LETTERS = 20  # of a class name that are shown
_DIGIT = 0.64  # width of a digit in sizes of its typeface
_PAGE = 8.5  # inches that the matrix takes at most
_SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", METHOD_COLOURS[0]])


@mpl.rc_context(STYLE)
def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix, `matrix[i][j]` being how many images of class i were taken for class j.

    The colour is the share of the images of a class, so that each row adds up to 1; it is that of the square root of
    the share, so that rare mistakes are seen. A class without images stays white. Up to 25 classes a cell that is not
    empty has its count; beyond 60 only some classes have their name.
    """
    counts = np.array(matrix)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    names = [_shown(number, name) for number, name in enumerate(classes)]
    digits, count = len(str(counts.max())), len(names)
    cell = min(max(0.4, 0.1 * digits + 0.1) if count <= _COUNTED else 0.2, _PAGE / count)
    side, margin = max(2.0, cell * count), 0.08 * max(map(len, names))
    figure = Figure(figsize=(side + margin + 1.5, side + margin + 0.7), layout="constrained")
    axes = figure.add_subplot(xlabel="taken for", ylabel="class of the image")
    picture = axes.imshow(shares, cmap=_SHADES, norm=PowerNorm(0.5, 0, 1))
    _name_classes(axes, names)
    if count <= _COUNTED:
        _write_counts(axes, counts, shares, min(9.0, 72 * 0.85 * cell / (_DIGIT * digits)))
    ticks = [0, 0.01, 0.05, 0.2, 0.5, 1]
    bar = figure.colorbar(
        picture, ticks=ticks, format="{x:.0%}", shrink=0.94, aspect=8 * side, label="share of the class"
    )
    bar.outline.set(visible=False)
    return figure


def _shown(number: int, name: str) -> str:
    """Return a class name as it can be drawn: by its number if the typeface lacks a letter of it, and not too long.

    Of a long one the middle is left out: names often differ at their ends.
    """
    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    if not all(font.get_char_index(ord(letter)) for letter in name):
        return f"#{number}"
    half = _LETTERS // 2
    return name if len(name) <= _LETTERS else f"{name[:half]}…{name[1 - half :]}"


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    places = range(0, len(names), -(-len(names) // _NAMED))
    shown = [names[place] for place in places]
    small, level = len(names) > _COUNTED, len(names) <= _COUNTED and max(map(len, names)) <= 3
    text: dict[str, Any] = {"fontsize": 7 if small else 9, "parse_math": False}
    axes.set_yticks(places, shown, **text)
    axes.set_xticks(places, shown, rotation=0 if level else 90, **text)
    axes.tick_params(length=0 if len(shown) == len(names) else 3)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#b5b5b5")


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], size: float) -> None:
    for row, column in zip(*counts.nonzero(), strict=True):
        colour = "white" if shares[row, column] > 0.4 else "#222222"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
