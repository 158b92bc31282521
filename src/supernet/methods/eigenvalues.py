"""R-DARTS' criterion: when the largest eigenvalue has grown so much that the search went wrong, and since when.

Zela et al., ICLR 2020, arXiv 1909.09656, released code. The eigenvalue is measured in epochs 0, 2, 4, ... (counted from
0). An average over 5 measurements belongs to the epoch in the middle. In epoch e the latest average, that of e - 4, is
compared with the one 4 measurements earlier, that of e - 12:

    average(e - 4) / average(e - 12) > 1.3   and   e - 12 >= 10:   go back to epoch e - 12
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

WINDOW = 5
"""measurements in an average"""
LAG = 4
"""measurements between the two averages that are compared"""
RATIO = 1.3
"""the largest ratio of the averages that is no sign of harm"""
FIRST = 10
"""the first epoch, counted from 0, that a search can go back to"""


def rollback(eigenvalues: Sequence[float], every: int = 2) -> int | None:
    """Return the epoch, counted from 0, to go back to after the last of the `eigenvalues`; None to go on.

    `eigenvalues` were measured in epochs 0, `every`, 2 `every`, ... An average that is not positive has no ratio, and
    the search goes on.
    """
    epoch = _compared(len(eigenvalues), every)
    if epoch is None:
        return None
    now, before = fmean(eigenvalues[-WINDOW:]), fmean(eigenvalues[-WINDOW - LAG : -LAG])
    return epoch if before > 0 and now / before > RATIO else None


def judged(measurements: int, every: int = 2) -> bool:
    """Return whether so many measurements are enough for the criterion."""
    return _compared(measurements, every) is not None


def _compared(measurements: int, every: int) -> int | None:
    """Return the epoch of the earlier average after so many measurements; None if it is too early to compare."""
    epoch = every * (measurements - 1 - WINDOW // 2 - LAG)
    return epoch if epoch >= FIRST and measurements >= WINDOW + LAG else None


def first_rollback(eigenvalues: Sequence[float], every: int = 2) -> tuple[int, int] | None:
    """Return the first epoch in which a search would have gone back, and the one to go back to, or None."""
    for count in range(1, len(eigenvalues) + 1):
        back = rollback(eigenvalues[:count], every)
        if back is not None:
            return every * (count - 1), back
    return None
