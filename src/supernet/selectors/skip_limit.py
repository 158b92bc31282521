"""Selection by magnitude with a limit on skip connections: at most M in the normal cell.

P-DARTS (Chen, Xie, Wu & Tian, ICCV 2019, arXiv 1904.12760): among the architectures with at most M skip connections,
the one whose operations have the largest sum of op scores. It is found exactly, as a knapsack problem in which a skip
connection costs 1; where the derived one has too many, those that waste an operation are left out, as within any other
limit. The released code takes the weakest skip connection away and derives the cell again, until few are left; that
need not be the best. That the paper keeps M = 2 is unverified.

A space without a cell called normal counts the skip connections of all its cells. Where fewer than M skip connections
cannot be had, as in a space of nothing else, or within a limit on latency that only more of them keep, M is the
smallest number that can.
"""

from __future__ import annotations

from contextlib import suppress

from supernet.errors import UserError
from supernet.selectors.base import Selector
from supernet.selectors.magnitude import strongest
from supernet.settings import Whole, settings
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import SKIPS


@settings
class SkipLimitConfig:
    """Settings of selection with a limit on skip connections."""

    skips: Whole = 2
    """most skip connections in the normal cell"""


class SkipLimit(Selector):
    """Selects the architecture with the largest sum of op scores and few skip connections."""

    Config = SkipLimitConfig
    quick = True
    config: SkipLimitConfig

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of op scores within the limits, that on skips included."""
        space = self.feasible.space
        skips = {
            kind: [[int(op in SKIPS and kind in space.main_kinds) for op in edge.ops] for edge in cell.edges]
            for kind, cell in space.cells.items()
        }
        least = max(self.config.skips, self.feasible.least(skips))
        every = sum(max(ops) for edges in skips.values() for ops in edges)
        for most in range(least, every):
            with suppress(UserError):  # none is as fast as the latency demands
                return strongest(self.method, self.feasible.summing(skips, most))
        return strongest(self.method, self.feasible.summing(skips, max(least, every)))
