"""Selection by threshold: an edge that its node need not keep is kept if its best op score reaches the threshold.

FairDARTS (Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126): op weights are sigmoids of alpha, threshold 0.85. Each
node keeps at most two edges, those with the best operations; nodes may have fewer inputs, or none.

With t the threshold this is the architecture with the largest sum of (op score - t), which also is what is selected
within limits. Where architectures keep a fixed number of edges, as in NAS-Bench-201, the threshold has no effect, and
the selection is the one by magnitude. So it is in a cell of which the threshold would leave no edge, as after a short
search, in which no op score comes near it: the paper does not say what such a cell becomes. Within limits it has what
the other cells leave, and a cell of which the limits leave no edge at the threshold is selected by magnitude, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from supernet.selectors.base import Selector
from supernet.settings import Fraction, settings
from supernet.spaces.genotype import Genotype

OpScores = Mapping[str, Sequence[Sequence[float]]]

_KEPT = 1e-12  # least gain of an edge at the threshold: above 0, as edges without a gain are left out
_SHARE = 1e-6  # of op scores, by which cells selected by magnitude count beside the others


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
    _told: Sequence[str] = ()

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of op scores above the threshold, within the limits."""
        scores, cells = self.method.op_score_lists(), self.feasible.space.cells
        most = {kind: max(self._allowed(scores, kind)) for kind, cell in cells.items() if cell.may_be_bare}
        below = {kind: score for kind, score in most.items() if not self._keeps(score)}
        genotype = self._above(scores, below)
        limited = [kind for kind in most if kind not in below and not self._reached(scores, genotype, kind)]
        if limited:
            genotype = self._above(scores, {*below, *limited})
        self._tell(genotype, below, limited)
        return genotype

    def _allowed(self, scores: OpScores, kind: str) -> list[float]:
        """Return the op scores of all operations that an architecture may have in a cell."""
        space = self.feasible.space
        edges = zip(scores[kind], space.candidates(space.cells[kind]), strict=True)
        return [row[k] for row, columns in edges for k in columns]

    def _keeps(self, score: float) -> bool:
        return score >= self.config.threshold

    def _reached(self, scores: OpScores, genotype: Genotype, kind: str) -> bool:
        """Return whether a cell has an operation that the threshold keeps."""
        columns = self.feasible.space.columns(genotype)[kind]
        return any(self._keeps(row[k]) for row, k in zip(scores[kind], columns, strict=True) if k is not None)

    def _above(self, scores: OpScores, by_magnitude: Collection[str]) -> Genotype:
        """Return the best architecture, for the other cells first and then for those selected by magnitude."""
        gains = {}
        for kind, cell in self.feasible.space.cells.items():
            gain = self._excess if cell.varies else float
            if kind in by_magnitude:
                gain = partial(_last, least=min(self._allowed(scores, kind)))
            gains[kind] = [[gain(score) for score in row] for row in scores[kind]]
        return self.feasible.best(gains)

    def _excess(self, score: float) -> float:
        excess = score - self.config.threshold
        return max(excess, _KEPT) if self._keeps(score) else excess

    def _tell(self, genotype: Genotype, below: Mapping[str, float], limited: Sequence[str]) -> None:
        """Note the cells in which the threshold does not decide."""
        filled = {kind: score for kind, score in below.items() if genotype[kind]}
        cells = {
            f"{self.config.threshold:g} leaves no edge of {{}}: selected there by magnitude": [
                f"cell '{kind}' (largest op score {score:.3g})" for kind, score in filled.items()
            ],
            f"the limits leave no edge of {{}} at {self.config.threshold:g} or above: selected there by magnitude": [
                f"cell '{kind}'" for kind in limited if genotype[kind]
            ],
            "the limits leave no edge of {}": [f"cell '{kind}'" for kind in (*below, *limited) if not genotype[kind]],
        }
        self._told = [text.format(" and ".join(named)) for text, named in cells.items() if named]

    def report(self) -> Mapping[str, Any]:
        """Return the cells in which the threshold does not decide, in words, if there are any."""
        return {"threshold": "; ".join(self._told)} if self._told else {}


def _last(score: float, least: float) -> float:
    """Return a gain above 0, so that a node keeps all edges it may, that counts less than those of other cells."""
    return _SHARE * (score - least + 1)
