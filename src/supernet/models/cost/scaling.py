"""The size at which a network of one architecture costs as much as another: its width, and its depth if need be."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

TOLERANCE = 0.02  # the largest difference of two costs that are called equal, as a share
UNITS = {"params": "parameters", "flops": "FLOPs"}  # by the name of the field of Cost
_NARROW, _BROAD = 1 / 4, 2  # times the space's own width: beyond them the depth changes
_LEAST = 1 / 32  # of the space's own width


def nearest_width(
    space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int, least: int = 1
) -> NetworkSize:
    """Return the size with the width, at least `least`, at which a cost, "params" or "flops", is nearest to `wanted`.

    The cost must not fall with the width.
    """

    def price(width: int) -> int:
        return int(getattr(cost(space, genotype, replace(network_size, width=width)), name))

    low, high = least, max(network_size.width, least)
    while price(high) < wanted:
        low, high = high, 2 * high
    above = low + bisect_left(range(low, high + 1), wanted, key=price)
    return replace(network_size, width=min(max(above - 1, least), above, key=lambda width: abs(price(width) - wanted)))


def with_cost(space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int) -> NetworkSize:
    """Return the size with the width at which a cost, "params" or "flops", is nearest to `wanted`.

    Raises UserError if the narrowest network has more, by more than 2 %.
    """
    size = nearest_width(space, genotype, network_size, name, wanted)
    _check_reached(space, genotype, size, name, wanted, least=1)
    return size


def scaled(space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int) -> NetworkSize:
    """Return the size at which the network of `genotype` has `wanted` parameters or FLOPs, for images as given.

    The space's own depth is taken if a width from a quarter to twice the space's own leads within 2 %, otherwise the
    nearest depth that does. Without any, the result is the best of all: within 2 %, and of a width near these. Raises
    UserError if the smallest network has more than wanted.
    """
    width, depth = space.target
    least = max(1, round(_LEAST * width))

    def error(size: NetworkSize) -> float:
        return abs(int(getattr(cost(space, genotype, size), name)) / wanted - 1)

    def unfit(size: NetworkSize) -> tuple[float, float]:
        off = error(size)
        return off * (off > TOLERANCE), max(1, _NARROW * width / size.width, size.width / (_BROAD * width))

    sizes = []
    for deep in sorted(range(1, 2 * depth + 1), key=lambda deep: abs(deep - depth)):
        own = replace(network_size, width=width, depth=deep)
        sizes.append(nearest_width(space, genotype, own, name, wanted, least))
        if unfit(sizes[-1]) == (0, 1):
            return sizes[-1]
    best = min(sizes, key=unfit)
    _check_reached(space, genotype, best, name, wanted, least)
    return best


def _check_reached(
    space: SearchSpace, genotype: Genotype, size: NetworkSize, name: str, wanted: int, least: int
) -> None:
    """Raise UserError if the network has the least width and costs more than wanted by more than 2 %."""
    found = getattr(cost(space, genotype, size), name)
    if size.width == least and found > (1 + TOLERANCE) * wanted:
        raise UserError(f"{space.name} cannot have {wanted:,} {UNITS[name]}: on these images it has at least {found:,}")
