"""Plots: the cell an architecture is, how a search weighed its operations, how methods fare over the epochs.

Every function returns a `matplotlib.figure.Figure` of its own; pyplot and its global list of figures are never used.
Operations have one colour everywhere; those without weights are muted, so that a collapsed cell looks grey.
"""

from supernet.plots.cell import draw_cell
from supernet.plots.curves import draw_diagnostics, draw_search, draw_trajectory
from supernet.plots.style import colour, save

__all__ = ["colour", "draw_cell", "draw_diagnostics", "draw_search", "draw_trajectory", "save"]
