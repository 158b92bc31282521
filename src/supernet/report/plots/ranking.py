"""The pictures of ranking: one-shot accuracies against true ones, and how well several supernets rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from supernet.report.plots.style import METHOD_COLOURS, STYLE, text_room

_SIZES = LinearSegmentedColormap.from_list("size", ["#56b4e9", "#0072b2", "#222222"])
_LINE = "#777777"


@mpl.rc_context(STYLE)
def draw_ranking(
    one_shot: Sequence[float],
    truth: Sequence[float],
    params: Sequence[float],
    tau: float | None = None,
    best_half: float | None = None,
    field: str = "true accuracy",
) -> Figure:
    """Draw the one-shot accuracy (%) of architectures against their true one (%), darker where they are larger.

    `params` are their parameters. Right of the line is the truly best half. `tau`, Kendall's over all and among the
    `best_half`, is written above; None is none. `field` is what the truth is called.
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel=f"{field} (%)", ylabel="one-shot accuracy (%)", title=_title(tau, best_half))
    if len(truth):
        axes.axvline(float(np.median(truth)), color=_LINE, lw=1, ls="--", zorder=1)
    millions = np.asarray(params, dtype=np.float64) / 1e6
    points = axes.scatter(truth, one_shot, 18, c=millions, cmap=_SIZES, edgecolors="white", linewidths=0.3, zorder=2)
    bar = figure.colorbar(points, label="parameters (millions)")
    bar.outline.set(visible=False)
    return figure


def _title(tau: float | None, best_half: float | None) -> str:
    whole, best = ("none" if value is None else f"{value:.2f}" for value in (tau, best_half))
    return f"Kendall's tau {whole}; {best} among the truly best half"


@mpl.rc_context(STYLE)
def draw_taus(taus: Mapping[str, Sequence[float]], xlabel: str = "Kendall's tau") -> Figure:
    """Draw how well supernets rank: per label a point for each seed, and a bar at their mean.

    The labels stand one below the other in their order; a NaN is left out.
    """
    wide = max((text_room(label, 9.0) for label in taus), default=0.0)
    figure = Figure(figsize=(4.2 + wide, 0.9 + 0.27 * len(taus)), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    for place, values in enumerate(taus.values()):
        known = [value for value in values if not math.isnan(value)]
        axes.plot(known, [place] * len(known), "o", ms=4.5, mfc=METHOD_COLOURS[0], mec="white", mew=0.5, zorder=2)
        if known:
            axes.plot([np.mean(known)], [place], "|", ms=13, mew=1.6, color="#222222", zorder=3)
    axes.axvline(0, color=_LINE, lw=0.8, zorder=1)
    axes.set_yticks(range(len(taus)), list(taus))
    axes.set_ylim(max(len(taus), 1) - 0.5, -0.5)  # the first on top
    axes.grid(axis="x", lw=0.4)
    return figure
