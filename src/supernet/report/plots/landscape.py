"""The picture of the loss around alpha: a plane of two directions, with the way that a search took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from supernet.report.plots.style import STYLE

# In inches: how wide the plane is, and what is left around it. A layout that Matplotlib finds would lose its scale.
_SIDE, _LEFT, _RIGHT, _BELOW, _ABOVE = 4.6, 0.85, 1.4, 0.9, 0.35
_LEVELS = 24  # at most
_REACH = 8.0  # the colours end this many times as far above the least loss as the median is
_FLAT = 1e-3  # the colours cover at least this share of the least loss, so that rounding is no landscape
_NUMBERS = 8  # beside the colours, about
_NONE = "#d9d9d9"
_ENDS: dict[str, dict[str, Any]] = {
    "first": {"marker": "o", "ms": 8, "mfc": "white"},
    "last": {"marker": "*", "ms": 14, "mfc": "#d55e00"},
}


@mpl.rc_context(STYLE)
def draw_landscape(
    xs: Sequence[float],
    ys: Sequence[float],
    losses: ArrayLike,
    path: ArrayLike,
    title: str = "loss around alpha",
    label: str = "validation loss",
) -> Figure:
    """Draw the loss over a plane through alpha, as ZARTS does (Wang et al., NeurIPS 2022), and a search's path on it.

    `xs` and `ys`, ascending, two or more of each, are how far alpha is moved along both directions, in its own units;
    `losses` has shape (len(ys), len(xs)). `path` is (epochs, 2): alpha after each epoch, in the plane; outside of it it
    is cut off. Where a loss is NaN or infinite the plane is grey. Losses far above most others have one colour.
    """
    height = _SIDE * min(max((ys[-1] - ys[0]) / (xs[-1] - xs[0]), 0.5), 1.5)  # true to scale, unless very long
    figure = Figure(figsize=(_LEFT + _SIDE + _RIGHT, _BELOW + height + _ABOVE))
    scale = 1 / figure.get_size_inches()
    place = (_LEFT * scale[0], _BELOW * scale[1], _SIDE * scale[0], height * scale[1])
    axes = figure.add_axes(place, facecolor=_NONE, title=title)
    _draw_path(axes, np.asarray(path, dtype=np.float64).reshape(-1, 2))
    _draw_losses(axes, xs, ys, np.ma.masked_invalid(losses), label)
    axes.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
    axes.set(xlabel="direction 1 (units of alpha)", ylabel="direction 2 (units of alpha)")
    figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=4)
    return figure


def _draw_losses(axes: Axes, xs: Sequence[float], ys: Sequence[float], losses: Any, label: str) -> None:
    found = losses.compressed()
    if len(found) < losses.size:
        axes.plot([], [], "s", color=_NONE, ms=9, label="no finite loss")
    if not len(found):
        return
    levels = _levels(found)
    above = "max" if found.max() > levels[-1] else "neither"
    filled = axes.contourf(xs, ys, losses, levels, cmap="viridis", extend=above)
    filled.set_edgecolor("face")  # or a vector picture shows hairlines between the colours
    axes.contour(xs, ys, losses, levels, colors="white", linewidths=0.4, alpha=0.6)
    beside = axes.inset_axes((1.04, 0, 0.035, 1))
    ticks = levels[:: -(-len(levels) // _NUMBERS)]
    bar = axes.figure.colorbar(filled, cax=beside, label=label, ticks=ticks, format="{x:g}")
    bar.outline.set(visible=False)


def _levels(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return round levels from the least loss to the largest, or to where the colours end."""
    least, median = found.min(), float(np.median(found))
    reach = least + _REACH * (median - least) if median > least else found.max()
    most = max(min(found.max(), reach), least + _FLAT * max(1, abs(least)))
    return np.asarray(MaxNLocator(_LEVELS, steps=[1, 2, 5, 10]).tick_values(least, most))


def _draw_path(axes: Axes, path: NDArray[np.float64]) -> None:
    axes.plot(*path.T, color="#222222", lw=2.6, zorder=3)
    axes.plot(*path.T, color="white", lw=1.2, marker="o", ms=3.5, mec="#222222", mew=0.6, zorder=4, label="each epoch")
    for (name, style), end in zip(_ENDS.items(), (path[:1], path[-1:]), strict=True):
        axes.plot(*end.T, mec="#222222", mew=1, ls="", zorder=5, label=f"{name} epoch", **style)
