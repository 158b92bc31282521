"""Figures of architectures, searches, trainings and studies.

Every function returns a new `matplotlib.figure.Figure`, without pyplot and its global list of figures. An operation has
the same colour everywhere; operations without weights are muted, so that a collapsed cell looks grey.
"""

from supernet.report.plots.cell import draw_architecture, draw_cell, learned, outputs_of
from supernet.report.plots.confusion import draw_confusion
from supernet.report.plots.curvature import draw_curvature
from supernet.report.plots.curves import draw_tabular, draw_training, draw_trajectory
from supernet.report.plots.front import draw_points
from supernet.report.plots.landscape import draw_landscape
from supernet.report.plots.panels import edges_of
from supernet.report.plots.scatter import draw_front, draw_ranking, draw_taus
from supernet.report.plots.search import draw_diagnostics, draw_search, thresholds
from supernet.report.plots.seeds import draw_agreement, draw_costs, draw_strips
from supernet.report.plots.strength import draw_strength
from supernet.report.plots.style import colour, save, write_svg

__all__ = [
    "colour",
    "draw_agreement",
    "draw_architecture",
    "draw_cell",
    "draw_confusion",
    "draw_costs",
    "draw_curvature",
    "draw_diagnostics",
    "draw_front",
    "draw_landscape",
    "draw_points",
    "draw_ranking",
    "draw_search",
    "draw_strength",
    "draw_strips",
    "draw_tabular",
    "draw_taus",
    "draw_training",
    "draw_trajectory",
    "edges_of",
    "learned",
    "outputs_of",
    "save",
    "thresholds",
    "write_svg",
]
