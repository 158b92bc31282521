"""Rank metrics: how well an estimate orders architectures, compared with their true accuracies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 256  # rows of a matrix of pairs that are there at a time


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b (1945) of two equally long rows, -1 to 1; NaN if all values of a row are equal."""
    sums = np.zeros(3)
    for a, b in zip(_signs(left), _signs(right), strict=True):
        sums += (a * b).sum(), (a * a).sum(), (b * b).sum()
    return _cosine(*sums)


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Spearman's rho (1904) of two equally long rows, -1 to 1; NaN if all values of a row are equal.

    It is the correlation of the ranks; equal values have the mean of their ranks.
    """
    a, b = centred_ranks(left), centred_ranks(right)
    return _cosine((a * b).sum(), (a * a).sum(), (b * b).sum())


def centred_ranks(row: Sequence[float]) -> NDArray[np.float64]:
    """Return twice the rank of each value, from 1 - n for the smallest to n - 1; equal values have the mean rank."""
    return np.concatenate([signs.sum(1) for signs in _signs(row)])


def same_best(left: ArrayLike, right: ArrayLike) -> bool:
    """Return whether all that have the largest value of a row have that of another, equally long one, too."""
    a, b = np.asarray(left), np.asarray(right)
    return bool((b[a == a.max()] == b.max()).all())


def combined(left: Sequence[float], right: Sequence[float], share: float) -> list[float]:
    """Return the mean of the ranks by two rows, of which `right` has the weight `share`."""
    return list(map(float, (1 - share) * centred_ranks(left) + share * centred_ranks(right)))


def pairwise(estimate: Sequence[float], truth: Sequence[float]) -> float:
    """Return the share of pairs that `estimate` orders as `truth` does, 0 to 1; NaN if all values of `truth` are equal.

    Pairs with equal values of `truth` are left out. Other pairs count one half if their estimates are equal.
    """
    total, pairs = 0.0, 0
    for signs, true in zip(_signs(estimate), _signs(truth), strict=True):
        total, pairs = total + float((1 + signs[true > 0]).sum()), pairs + int((true > 0).sum())
    return total / pairs / 2 if pairs else math.nan


def regret(estimate: Sequence[float], truth: Sequence[float], top: int = 1) -> float:
    """Return the difference of `truth` between the best of all and the best of the `top` highest estimates.

    Among equal estimates the first are taken.
    """
    values = np.asarray(truth)
    chosen = np.argsort(-np.asarray(estimate), kind="stable")[:top]
    return float(values.max() - values[chosen].max())


def _signs(row: Sequence[float]) -> Iterator[NDArray[np.float64]]:
    """Yield the signs of the differences of all ordered pairs, as blocks (rows, n) of a matrix (n, n).

    The whole matrix of all architectures of a table would take 2 GB.
    """
    values = np.asarray(row, dtype=np.float64)
    for start in range(0, max(1, len(values)), _BLOCK):
        yield np.sign(np.subtract.outer(values[start : start + _BLOCK], values))


def _cosine(product: float, square: float, other: float) -> float:
    """Return the cosine of two rows of numbers, from their scalar product and their squares."""
    length = math.sqrt(float(square) * float(other))
    return float(product) / length if length else math.nan
