"""Selection by threshold: an edge that its node need not keep is kept if its best op score is above the threshold.

FairDARTS (Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126): op weights are sigmoids of alpha, threshold 0.85. Each
node keeps at most two edges, those with the best operations; nodes may have fewer inputs, or none.

With t the threshold this is the architecture with the largest sum of (op score - t), which also is what is selected
within limits. Where architectures keep a fixed number of edges, as in NAS-Bench-201, the threshold has no effect, and
the selection is the one by magnitude.
"""

from __future__ import annotations

from supernet.errors import UserError
from supernet.selectors.base import Selector
from supernet.settings import Fraction, settings
from supernet.spaces.genotype import Genotype


@settings
class ThresholdConfig:
    """Settings of selection by threshold."""

    threshold: Fraction = 0.85
    """op score above which an edge is kept, where a node may have fewer edges"""


class Threshold(Selector):
    """Selects the operations whose op scores are above the threshold.

    Raises UserError if no edge of a cell is kept.
    """

    Config = ThresholdConfig
    quick = True
    config: ThresholdConfig

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of op scores above the threshold, within the limits."""
        cells, least = self.feasible.space.cells, self.config.threshold
        scores = self.method.op_score_lists()
        above = {k: [[s - least * cells[k].varies for s in row] for row in rows] for k, rows in scores.items()}
        genotype = self.feasible.best(above)
        for kind in cells:
            if not genotype[kind]:
                raise self._empty(kind, scores[kind])
        return genotype

    def _empty(self, kind: str, rows: list[list[float]]) -> UserError:
        """Return the error for a cell without edges."""
        cell = self.feasible.space.cells[kind]
        columns = self.feasible.space.candidates(cell)
        most = max(row[k] for row, allowed in zip(rows, columns, strict=True) for k in allowed)
        limits = f" or allow more than {self.feasible.limits}" if self.feasible.limits else ""
        return UserError(
            f"threshold {self.config.threshold:g} empties every node of cell '{kind}', whose largest op score is "
            f"{most:.3g}: set a lower threshold{limits}"
        )
