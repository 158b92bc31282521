"""Selection by magnitude: on every edge the operation with the largest weight; within limits, the largest sum of them.

Without limits the two are the same: which operation an edge has, and which edges a node keeps, bears on no other node.

DARTS (Liu, Simonyan & Yang, ICLR 2019, section 2.4); NAS-Bench-201 (Dong & Yang, 2020) lets `none` win, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet.selectors.base import Selector
from supernet.spaces.genotype import Genotype

if TYPE_CHECKING:
    from supernet.methods.base import Method
    from supernet.models.cost.best import FeasibleSet


@dataclass(frozen=True)
class MagnitudeConfig:
    """Settings of selection by magnitude: none."""


class Magnitude(Selector):
    """The architecture of the strongest operations."""

    Config = MagnitudeConfig
    quick = True

    def genotype(self) -> Genotype:
        """Return it."""
        return strongest(self.method, self.feasible)


def strongest(method: Method, feasible: FeasibleSet) -> Genotype:
    """Return the architecture of the strongest operations, as the space derives it, or the strongest within feasible."""
    return feasible.best({kind: value.tolist() for kind, value in method.op_scores().items()})
