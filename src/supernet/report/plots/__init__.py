"""Plots: the cell an architecture is, how searches and trainings fare over epochs, what they found, and around what.

Every function returns a `matplotlib.figure.Figure` of its own; pyplot and its global list of figures are never used.
Operations have one colour everywhere; those without weights are muted, so that a collapsed cell looks grey.
"""

from supernet.report.plots.cell import draw_cell
from supernet.report.plots.confusion import draw_confusion
from supernet.report.plots.curves import draw_diagnostics, draw_search, draw_trajectory
from supernet.report.plots.front import draw_front
from supernet.report.plots.landscape import draw_landscape
from supernet.report.plots.panels import edges_of
from supernet.report.plots.ranking import draw_ranking, draw_taus
from supernet.report.plots.strength import draw_strength
from supernet.report.plots.style import colour, save
from supernet.report.plots.tabular import draw_tabular
from supernet.report.plots.training import draw_training

__all__ = [
    "colour",
    "draw_cell",
    "draw_confusion",
    "draw_diagnostics",
    "draw_front",
    "draw_landscape",
    "draw_ranking",
    "draw_search",
    "draw_strength",
    "draw_tabular",
    "draw_taus",
    "draw_training",
    "draw_trajectory",
    "edges_of",
    "save",
]
