"""The picture of accuracy against cost: all architectures of a table, the best for each cost, and those found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import ArrayLike, NDArray

from supernet.report.plots.panels import add_legend
from supernet.report.plots.style import METHOD_COLOURS, STYLE

_MARKERS = ("o", "s", "^", "D")  # of labels that have the same colour
_GREY = "#b5b5b5"
_POOR = 0.1  # the share of the cloud that may lie below the picture
Real = NDArray[np.float64]


@mpl.rc_context(STYLE)
def draw_front(
    points: Mapping[str, Sequence[tuple[float, float]]],
    cloud: ArrayLike,
    xlabel: str = "latency (ms)",
    ylabel: str = "test accuracy (%)",
    *,
    log: bool = False,
) -> Figure:
    """Draw found architectures among all there are, each at (cost, accuracy in %).

    `cloud` has shape (architectures, 2): every architecture of a table, NaN where one was not measured. The line is its
    Pareto front: the highest accuracy at no more than a cost. `points[label]` are the architectures that one method
    found, one per seed. With `log` the costs, above 0, are on a logarithmic axis. The worst tenth of the cloud is left
    out but for what is better than some point: it would take most of the picture.
    """
    found = {label: _finite(some) for label, some in points.items()}
    shown = _shown(_finite(cloud), [accuracy for some in found.values() for accuracy in some[:, 1]])
    figure = Figure(figsize=(6.8, 4.9), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, xscale="log" if log else "linear")
    axes.scatter(shown[:, 0], shown[:, 1], 2, color=_GREY, alpha=0.5, lw=0, rasterized=True)
    axes.plot([], [], "o", color=_GREY, ms=3, label="all architectures")
    axes.plot(*_front(shown).T, color="#222222", lw=1.2, drawstyle="steps-post", label="best for the cost")
    for number, (label, some) in enumerate(found.items()):
        shade, marker = (
            METHOD_COLOURS[number % len(METHOD_COLOURS)],
            _MARKERS[number // len(METHOD_COLOURS) % len(_MARKERS)],
        )
        axes.plot(*some.T, marker, ms=6, mfc=shade, mec="white", mew=0.6, zorder=3, label=label)
    if log:
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")
    add_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _finite(points: ArrayLike) -> Real:
    """Return as (points, 2) those without a NaN."""
    found = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return found[np.isfinite(found).all(1)]


def _shown(cloud: Real, found: Sequence[float]) -> Real:
    """Return what of the cloud is in the picture, which begins at the least accuracy that was found, if not before."""
    if not len(cloud):
        return cloud
    return cloud[cloud[:, 1] >= min([np.quantile(cloud[:, 1], _POOR), *found])]


def _front(known: Real) -> Real:
    """Return the corners of the Pareto front, the cheapest first, and how far it goes on."""
    order = known[np.lexsort((-known[:, 1], known[:, 0]))]
    best = np.maximum.accumulate(order[:, 1])
    better = np.diff(best, prepend=-np.inf) > 0
    return np.concatenate([order[better], np.stack([order[-1:, 0], best[-1:]], 1)])
