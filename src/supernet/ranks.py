"""Rank correlation: whether two measures put the same things in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b (1945) of two rows of equal length, -1 to 1; NaN where one of them is all ties."""
    a, b = (np.sign(np.subtract.outer(row, row)) for row in (np.asarray(left), np.asarray(right)))
    pairs = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / pairs if pairs else math.nan
