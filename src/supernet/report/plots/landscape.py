"""The loss around alpha: contours over a plane of two directions, and the path of a search in that plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from supernet.report.plots.panels import add_legend
from supernet.report.plots.style import DARK, STYLE

_SIDE = 4.6  # inches, the width of the plane
_LEVELS = 24  # the highest number of colours
_REACH = 8.0  # the colours end this many times as far above the least loss as the median is
_FLAT = 1e-3  # the colours cover at least this share of the least loss, so that rounding errors show no landscape
_TICKS = 8  # beside the colours, about
_NO_LOSS = "#d9d9d9"
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

    `xs` and `ys`, ascending, two or more of each, are the distances that alpha is moved along the two directions, in
    alpha's own units; `losses` has shape (len(ys), len(xs)). `path` has shape (epochs, 2): alpha after each epoch in
    the plane, cut off at the plane's edges. The plane is grey where a loss is NaN or infinite. Losses far above most
    others share one colour.
    """
    ratio = min(max((ys[-1] - ys[0]) / (xs[-1] - xs[0]), 0.5), 1.5)  # true to scale, unless the plane is very long
    figure = Figure(figsize=(_SIDE + 2.1, _SIDE * ratio + 0.75), layout="constrained")
    axes = figure.add_subplot(facecolor=_NO_LOSS, title=title, box_aspect=ratio)
    _draw_path(axes, np.asarray(path, dtype=np.float64).reshape(-1, 2))
    _draw_losses(axes, xs, ys, np.ma.masked_invalid(losses), label)
    axes.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
    axes.set(xlabel="direction 1 (units of alpha)", ylabel="direction 2 (units of alpha)")
    add_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _draw_losses(axes: Axes, xs: Sequence[float], ys: Sequence[float], losses: Any, label: str) -> None:
    finite = losses.compressed()
    if len(finite) < losses.size:
        axes.plot([], [], "s", color=_NO_LOSS, ms=9, label="no finite loss")
    if not len(finite):
        return
    levels = _levels(finite)
    above = "max" if finite.max() > levels[-1] else "neither"
    filled = axes.contourf(xs, ys, losses, levels, cmap="viridis", extend=above)
    filled.set_edgecolor("face")  # without edges, a vector picture shows hairlines between the colours
    axes.contour(xs, ys, losses, levels, colors="white", linewidths=0.4, alpha=0.6)
    beside = axes.inset_axes((1.04, 0, 0.035, 1))  # as high as the plane, whatever the plane's shape
    ticks = levels[:: -(-len(levels) // _TICKS)]
    bar = axes.figure.colorbar(filled, cax=beside, label=label, ticks=ticks, format="{x:g}")
    bar.outline.set(visible=False)


def _levels(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return round levels from the least loss to the largest, or to the end of the colours."""
    least, median = losses.min(), float(np.median(losses))
    reach = least + _REACH * (median - least) if median > least else losses.max()
    most = max(min(losses.max(), reach), least + _FLAT * max(1, abs(least)))
    return np.asarray(MaxNLocator(_LEVELS, steps=[1, 2, 5, 10]).tick_values(least, most))


def _draw_path(axes: Axes, path: NDArray[np.float64]) -> None:
    axes.plot(*path.T, color=DARK, lw=2.6, zorder=3)
    axes.plot(*path.T, color="white", lw=1.2, marker="o", ms=3.5, mec=DARK, mew=0.6, zorder=4, label="each epoch")
    for (name, style), end in zip(_ENDS.items(), (path[:1], path[-1:]), strict=True):
        axes.plot(*end.T, mec=DARK, mew=1, ls="", zorder=5, label=f"{name} epoch", **style)
