"""Comparisons: the same search by several methods, seeds and settings, side by side, with equal budgets and a table."""
