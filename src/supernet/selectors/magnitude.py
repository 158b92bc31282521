"""Selection by magnitude: on every edge the operation with the largest weight.

DARTS (Liu, Simonyan & Yang, ICLR 2019, section 2.4); NAS-Bench-201 (Dong & Yang, 2020) lets `none` win, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supernet.genotype import Genotype
    from supernet.methods.base import Method


def magnitude(method: Method) -> Genotype:
    """Return the architecture of the strongest operations, as the space derives it."""
    strength = {kind: value.tolist() for kind, value in method.strength().items()}
    return method.supernet.space.derive(strength)
