"""The picture of searches on a table: how good what they have found is after so many queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from supernet.report.plots.curves import Curve, draw_trajectory
from supernet.report.plots.style import STYLE

_EARLY = 0.03  # the share of the queries that may lie below the picture: the first architectures are poor


@mpl.rc_context(STYLE)
def draw_tabular(
    runs: Mapping[str, Sequence[Curve]], references: Mapping[str, float] | None = None, ylabel: str = "accuracy (%)"
) -> Figure:
    """Draw per method the mean over its seeds of an accuracy (%) after each query, and one standard deviation.

    It is `draw_trajectory` without the lines of the seeds, which are steps here and many: `runs[method]` is one curve
    per seed, of any lengths, `references` are dashed lines. The picture begins at the lowest mean that there is after
    a thirtieth of the queries.
    """
    figure = draw_trajectory(runs, references, ylabel)
    (axes,) = figure.axes
    axes.set_xlabel("queries")
    for line in list(axes.lines):
        if str(line.get_label()).startswith("_"):
            line.remove()
    means = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines if line.get_label() in runs]
    late = np.concatenate([mean[int(_EARLY * len(mean)) :] for mean in means]) if means else np.zeros(0)
    late = np.concatenate([late[np.isfinite(late)], list((references or {}).values())])
    if len(late) and late.max() > late.min():
        room = 0.05 * (late.max() - late.min())
        axes.set_ylim(late.min() - room, late.max() + room)
    return figure
