"""Ranks: whether two measures put the same things in the same order, and what is lost where they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b (1945) of two rows of equal length, -1 to 1; NaN where one of them is all ties."""
    return _cosine(_signs(left), _signs(right))


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Spearman's rho (1904) of two rows of equal length, -1 to 1; NaN where one of them is all ties.

    It is the correlation of the ranks, of which equals have the mean of theirs.
    """
    return _cosine(_signs(left).sum(1), _signs(right).sum(1))  # twice the ranks, centred: below less above


def pairwise(estimate: Sequence[float], truth: Sequence[float]) -> float:
    """Return the share of pairs that `estimate` puts in the order of `truth`, 0 to 1; NaN where all are equal in truth.

    Pairs that are equal in truth have no order and are left out; of the others those that the estimate leaves equal
    count one half.
    """
    told = _signs(estimate)[_signs(truth) > 0]
    return float((1 + told).mean()) / 2 if told.size else math.nan


def regret(estimate: Sequence[float], truth: Sequence[float], top: int = 1) -> float:
    """Return how far the best in truth among the `top` highest of `estimate` is below the best there is.

    It is in the units of `truth`. Of equals in the estimate those that come first are taken.
    """
    values = np.asarray(truth)
    chosen = np.argsort(-np.asarray(estimate), kind="stable")[:top]
    return float(values.max() - values[chosen].max())


def _signs(row: Sequence[float]) -> NDArray[np.float64]:
    """Return for every ordered pair the sign of its difference, (n, n)."""
    values = np.asarray(row, dtype=np.float64)
    return np.sign(np.subtract.outer(values, values))


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    length = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / length if length else math.nan
