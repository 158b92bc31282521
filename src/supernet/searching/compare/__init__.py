"""Comparisons: the same search by several methods, seeds and settings, side by side, with equal budgets and a table."""

from supernet.searching.compare.comparing import compare
from supernet.searching.compare.comparison import Comparison

__all__ = ["Comparison", "compare"]
