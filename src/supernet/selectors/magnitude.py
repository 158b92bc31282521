"""Selection by magnitude: the architecture within the limits whose operations have the largest sum of op scores.

Without limits this is the operation with the largest score on every edge, because the operation of an edge and the
edges that a node keeps do not affect other nodes.

DARTS (Liu, Simonyan & Yang, ICLR 2019, section 2.4); in NAS-Bench-201 (Dong & Yang, 2020) `none` can win, too.
"""

from __future__ import annotations

from supernet.methods.base import Method
from supernet.models.cost.feasible import FeasibleSet
from supernet.selectors.base import Selector
from supernet.spaces.genotype import Genotype


class Magnitude(Selector):
    """Selects the architecture with the largest sum of op scores."""

    quick = True

    def genotype(self) -> Genotype:
        """Return the architecture with the largest sum of op scores within the limits."""
        return strongest(self.method, self.feasible)


def strongest(method: Method, feasible: FeasibleSet) -> Genotype:
    """Return the architecture in `feasible` whose operations have the largest sum of op scores."""
    return feasible.best(method.op_score_lists())
