"""Selection by averaged op scores: by magnitude of their mean over the last epochs, so that a late fall counts little.

Op scores move until the last step, and where a method falls at its end (see docs/measurements.md) the mean over the
last third still is where it had been. Averaging what stochastic steps visit is known for weights (Polyak & Juditsky,
1992); no paper is known to us that selects in this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from supernet.selectors.base import Selector
from supernet.settings import Fraction, settings
from supernet.spaces.genotype import Genotype


@settings
class AverageConfig:
    """Settings of selection by averaged op scores."""

    last: Fraction = 1 / 3
    """share of the epochs, the last ones, whose op scores are averaged"""


class Average(Selector):
    """Selects the architecture with the largest sum of mean op scores."""

    Config = AverageConfig
    quick = True
    config: AverageConfig

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of mean op scores within the limits.

        Epochs before the supernet had its present candidates (P-DARTS) are left out.
        """
        tables = [{kind: torch.tensor(rows) for kind, rows in epoch.items()} for epoch in self._epochs()]
        alike = [table for table in tables if _shapes(table) == _shapes(tables[-1])]
        means = {kind: torch.stack([table[kind] for table in alike]).mean(0).tolist() for kind in alike[0]}
        return self.feasible.best(means)

    def _epochs(self) -> Sequence[Mapping[str, list[list[float]]]]:
        count = math.ceil(self.config.last * len(self.history))
        return self.history[-max(1, count) :] or [self.method.op_score_lists()]


def _shapes(table: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {kind: scores.shape for kind, scores in table.items()}
