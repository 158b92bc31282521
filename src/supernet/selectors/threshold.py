"""Selection by threshold: an edge that its node need not keep is kept if its best op score reaches the threshold.

FairDARTS (Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126): op weights are sigmoids of alpha, threshold 0.85. Each
node keeps at most two edges, those with the best operations; nodes may have fewer inputs, or none.

With t the number below the threshold, so that an op score equal to it counts, this is the architecture with the largest
sum of (op score - t), which also is what is selected within limits. Where architectures keep a fixed number of edges,
as in NAS-Bench-201, the threshold has no effect, and the selection is the one by magnitude. So it is in a cell of which
the threshold would leave no edge, as after a short search, in which no op score comes near it: the paper does not say
what such a cell becomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from supernet.selectors.base import Selector
from supernet.settings import Fraction, settings
from supernet.spaces.genotype import Genotype


@settings
class ThresholdConfig:
    """Settings of selection by threshold."""

    threshold: Fraction = 0.85
    """op score from which on an edge is kept, where a node may have fewer edges"""


class Threshold(Selector):
    """Selects the operations whose op scores reach the threshold, by magnitude in a cell that has none."""

    Config = ThresholdConfig
    quick = True
    config: ThresholdConfig
    _empty: Mapping[str, float] = {}  # the largest op score of each cell of which the threshold would leave no edge

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of op scores above the threshold, within the limits."""
        scores, space = self.method.op_score_lists(), self.feasible.space
        below = math.nextafter(self.config.threshold, -math.inf)  # an equal op score is above it, as in released code
        least = {kind: below if cell.varies else 0.0 for kind, cell in space.cells.items()}
        genotype = self._above(scores, least)
        allowed = {
            kind: [row[k] for row, some in zip(scores[kind], space.candidates(cell), strict=True) for k in some]
            for kind, cell in space.cells.items()
            if not genotype[kind]
        }
        self._empty = {kind: max(values) for kind, values in allowed.items()}
        return self._above(scores, least | {k: min(v) - 1 for k, v in allowed.items()}) if allowed else genotype

    def _above(self, scores: Mapping[str, list[list[float]]], least: Mapping[str, float]) -> Genotype:
        return self.feasible.best({k: [[s - least[k] for s in row] for row in rows] for k, rows in scores.items()})

    def report(self) -> Mapping[str, Any]:
        """Return the cells of which the threshold leaves no edge, in words, if there are any."""
        found = [f"cell '{kind}' (largest op score {most:.3g})" for kind, most in self._empty.items()]
        text = f"{self.config.threshold:g} leaves no edge of {' and '.join(found)}: selected there by magnitude"
        return {"threshold": text} if found else {}
