"""Rank metrics: how well an estimate orders architectures, compared with their true accuracies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b (1945) of two equally long rows, -1 to 1; NaN if all values of a row are equal."""
    return _cosine(_signs(left), _signs(right))


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Spearman's rho (1904) of two equally long rows, -1 to 1; NaN if all values of a row are equal.

    It is the correlation of the ranks; equal values have the mean of their ranks.
    """
    return _cosine(centred_ranks(left), centred_ranks(right))


def centred_ranks(row: Sequence[float]) -> NDArray[np.float64]:
    """Return twice the rank of each value, from 1 - n for the smallest to n - 1; equal values have the mean rank."""
    ranks: NDArray[np.float64] = _signs(row).sum(1)
    return ranks


def combined(left: Sequence[float], right: Sequence[float], share: float) -> list[float]:
    """Return the mean of the ranks by two rows, of which `right` has the weight `share`."""
    return list(map(float, (1 - share) * centred_ranks(left) + share * centred_ranks(right)))


def pairwise(estimate: Sequence[float], truth: Sequence[float]) -> float:
    """Return the share of pairs that `estimate` orders as `truth` does, 0 to 1; NaN if all values of `truth` are equal.

    Pairs with equal values of `truth` are left out. Other pairs count one half if their estimates are equal.
    """
    signs = _signs(estimate)[_signs(truth) > 0]
    return float((1 + signs).mean()) / 2 if signs.size else math.nan


def regret(estimate: Sequence[float], truth: Sequence[float], top: int = 1) -> float:
    """Return the difference of `truth` between the best of all and the best of the `top` highest estimates.

    Among equal estimates the first are taken.
    """
    values = np.asarray(truth)
    chosen = np.argsort(-np.asarray(estimate), kind="stable")[:top]
    return float(values.max() - values[chosen].max())


def _signs(row: Sequence[float]) -> NDArray[np.float64]:
    """Return the signs (n, n) of the differences of all ordered pairs."""
    values = np.asarray(row, dtype=np.float64)
    return np.sign(np.subtract.outer(values, values))


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    length = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / length if length else math.nan
