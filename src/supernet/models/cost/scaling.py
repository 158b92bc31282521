"""The size at which a network of one architecture costs as much as another: its width, or its width and its depth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace
from math import log

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.memory import check_memory
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

TOLERANCE = 0.02  # the largest difference of two costs that are called equal, as a share
UNITS = {"params": "parameters", "flops": "FLOPs"}  # by the name of the field of Cost
_DEEPER, _WIDER = 1.2, 1.1  # in each step of compound scaling, EfficientNet's alpha and beta
_LEAST = 1 / 32  # of the space's own width


def nearest_width(
    space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int, least: int = 1
) -> NetworkSize:
    """Return the size with the width, at least `least`, at which a cost, "params" or "flops", is nearest to `wanted`.

    The cost must not fall with the width. Raises UserError if there is no memory for a network of that cost.
    """
    price = _by_width(space, genotype, network_size, name)
    low, high = least, max(network_size.width, least)
    while price(high) < wanted:
        low, high = high, 2 * high
        try:
            check_memory(space, replace(network_size, width=low), genotype=genotype)  # which is still too narrow
        except UserError as error:
            raise UserError(f"{space.name} cannot have {wanted:,} {UNITS[name]}: {error}") from None
    above = low + bisect_left(range(low, high + 1), wanted, key=price)
    return replace(network_size, width=min(max(above - 1, least), above, key=lambda width: abs(price(width) - wanted)))


def widest(space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, most: int) -> int:
    """Return the largest width, at most that of `network_size`, at which a cost is at most `most`; 0 if none is.

    The cost must not fall with the width.
    """
    price = _by_width(space, genotype, network_size, name)
    return bisect_right(range(1, network_size.width + 1), most, key=price)


def _by_width(space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str) -> Callable[[int], int]:
    """Return a function from the width of the network of `genotype` to its cost, "params" or "flops"."""
    return lambda width: int(getattr(cost(space, genotype, replace(network_size, width=width)), name))


def with_cost(
    space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int, least: int = 1
) -> NetworkSize:
    """Return the size with the width, at least `least`, at which a cost, "params" or "flops", is nearest to `wanted`.

    Raises UserError if the narrowest network has more, by more than 2 %, or if there is no memory for one.
    """
    size = nearest_width(space, genotype, network_size, name, wanted, least)
    found = getattr(cost(space, genotype, size), name)
    if size.width == least and found > (1 + TOLERANCE) * wanted:
        raise UserError(f"{space.name} cannot have {wanted:,} {UNITS[name]}: on these images it has at least {found:,}")
    return size


def scaled(space: SearchSpace, genotype: Genotype, network_size: NetworkSize, name: str, wanted: int) -> NetworkSize:
    """Return the size at which the network of `genotype` is nearest to `wanted` parameters or FLOPs, for these images.

    Depth and width grow and shrink together from the space's own, by the compound scaling of Tan & Le (ICML 2019,
    equation 3; the images stay as they are): a network 1.2 times as deep is 1.1 times as wide. So the depth goes by
    about the square root of the cost, rounded, and the width is the nearest at this depth. Raises UserError if the
    narrowest network has more than wanted, by more than 2 %, or if there is no memory for one.
    """
    width, depth = space.target
    own = replace(network_size, width=width, depth=depth)
    steps = log(wanted / getattr(cost(space, genotype, own), name)) / log(_DEEPER * _WIDER**2)
    own = replace(own, depth=max(1, round(depth * _DEEPER**steps)))
    return with_cost(space, genotype, own, name, wanted, least=max(1, round(_LEAST * width)))
