"""Plots: the cell an architecture is, how searches and trainings fare over epochs, what they found, and around what.

Every function returns a `matplotlib.figure.Figure` of its own; pyplot and its global list of figures are never used.
Operations have one colour everywhere; those without weights are muted, so that a collapsed cell looks grey.
"""

from supernet.plots.cell import draw_cell
from supernet.plots.confusion import draw_confusion
from supernet.plots.curves import draw_diagnostics, draw_search, draw_trajectory
from supernet.plots.front import draw_front
from supernet.plots.landscape import draw_landscape
from supernet.plots.panels import edges_of
from supernet.plots.ranking import draw_ranking, draw_taus
from supernet.plots.strength import draw_strength
from supernet.plots.style import colour, save
from supernet.plots.tabular import draw_tabular
from supernet.plots.training import draw_training

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
