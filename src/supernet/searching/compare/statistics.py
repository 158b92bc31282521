"""The statistics of a comparison: spreads over seeds, and paired differences with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 5  # pairs that can say anything: two methods that are alike have five differences of one sign in 1 of 16 cases
_RESAMPLES, _COVERAGE = 10_000, 0.95
_DIGITS = 9  # of a difference in %, far below that of one image


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (None for one value), median, minimum and maximum."""

    mean: float
    std: float | None
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values, at least one."""
        array = np.asarray(values, dtype=float)
        std = float(array.std(ddof=1)) if len(array) > 1 else None
        return cls(float(array.mean()), std, float(np.median(array)), float(array.min()), float(array.max()))

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.std is None else f" ± {self.std:.2f}")


@dataclass(frozen=True)
class Difference:
    """The mean difference from the baseline over the seeds that both have, its 95 % interval, and what it means."""

    pairs: int
    mean: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """What the difference means."""
        if self.low <= 0 <= self.high:
            return "within noise"
        if self.pairs < FEWEST:
            return f"too few seeds to tell ({self.pairs} of {FEWEST})"
        return "higher" if self.mean > 0 else "lower"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}], {self.words}"


def difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return the paired difference of values by seed from those of the baseline; None without a common seed.

    The interval is the middle 95 % of the means of 10 000 resamples of the pairs, drawn with a fixed seed.
    """
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    pairs = np.array([values[seed] - baseline[seed] for seed in seeds])
    drawn = np.random.default_rng(0).integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    tail = (1 - _COVERAGE) / 2
    low, high = np.quantile(pairs[drawn].mean(axis=1), [tail, 1 - tail])
    # What is 0 but for rounding would otherwise be above or below it
    return Difference(len(pairs), *(round(float(value), _DIGITS) + 0.0 for value in (pairs.mean(), low, high)))
