"""The confusion matrix of a network: for the images of each class, how often each class was predicted."""

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

from supernet.errors import visible
from supernet.report.plots.style import DARK, GREY, METHOD_COLOURS, STYLE

_COUNTED = 25  # up to this many classes, each cell shows its count
_NAMED = 60  # up to this many classes, each class shows its name
_LETTERS = 20  # the longest class name that is not shortened
_DIGIT = 0.64  # the width of a digit, in font sizes
_PAGE = 8.5  # the largest side of the matrix, in inches
_SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", METHOD_COLOURS[0]])


@mpl.rc_context(STYLE)
def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix: `matrix[i][j]` is the number of images of class i for which class j was predicted.

    A cell's colour is its share of the images of class i, on a square root scale, so that rare mistakes are visible;
    the row of a class without images is white. Up to 25 classes, cells that are not empty show their count. Beyond 60
    classes, only some classes show their name.
    """
    counts = np.array(matrix)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    names = [_shown(number, visible(name)) for number, name in enumerate(classes)]
    digits, count = len(str(counts.max())), len(names)
    cell = min(max(0.4, 0.1 * digits + 0.1) if count <= _COUNTED else 0.2, _PAGE / count)  # inches
    side, margin = max(2.0, cell * count), 0.08 * max(map(len, names))
    figure = Figure(figsize=(side + margin + 1.5, side + margin + 0.7), layout="compressed")
    axes = figure.add_subplot(xlabel="predicted class", ylabel="class of the image")
    picture = axes.imshow(shares, cmap=_SHADES, norm=PowerNorm(0.5, 0, 1))
    _name_classes(axes, names)
    if count <= _COUNTED:
        _write_counts(axes, counts, shares, min(9.0, 72 * 0.85 * cell / (_DIGIT * digits)))
    bar: dict[str, Any] = {"ticks": [0, 0.01, 0.05, 0.2, 0.5, 1], "format": "{x:.0%}", "aspect": 8 * side}
    figure.colorbar(picture, label="share of the class", **bar).outline.set(visible=False)
    return figure


def _shown(number: int, name: str) -> str:
    """Return a class name without its middle if it is too long, or its number if the typeface lacks a letter of it."""
    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    if not all(font.get_char_index(ord(letter)) for letter in name):
        return f"#{number}"
    half = _LETTERS // 2  # names often differ at their ends
    return name if len(name) <= _LETTERS else f"{name[:half]}…{name[1 - half :]}"


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    places = range(0, len(names), -(-len(names) // _NAMED))
    shown = [names[place] for place in places]
    small, level = len(names) > _COUNTED, len(names) <= _COUNTED and max(map(len, names)) <= 3
    size = 7 if small else 9
    axes.set_yticks(places, shown, fontsize=size)
    axes.set_xticks(places, shown, rotation=0 if level else 90, fontsize=size)
    axes.tick_params(length=0 if len(shown) == len(names) else 3)
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY)


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], size: float) -> None:
    for row, column in zip(*counts.nonzero(), strict=True):
        colour = "white" if shares[row, column] > 0.4 else DARK
        text = axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
        text.set_in_layout(False)  # hundreds of texts inside the matrix need no room
