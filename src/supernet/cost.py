"""Parameters and FLOPs of an architecture in closed form, without building it.

FLOPs are what NAS-Bench-201's table counts for one image: one per multiply-add of a convolution or linear layer and
one per bias of the classifier; batch norm, pooling and additions count nothing.
"""

from __future__ import annotations

from functools import cache

from supernet.genotype import Genotype
from supernet.primitives import Cost, Primitive
from supernet.spaces.base import CellAt, HeadAt, Layer, ReduceAt, SearchSpace, StemAt


def cost(
    space: SearchSpace,
    genotype: Genotype,
    *,
    width: int = 16,
    depth: int = 5,
    size: tuple[int, int] = (32, 32),
    channels: int = 3,
    classes: int = 10,
) -> Cost:
    """Return the cost of the network that `supernet.build` makes of `genotype`, for one image of `size` pixels.

    Raises UserError if the genotype is not of `space`.
    """
    space.check(genotype)
    total = Cost()
    height, across = size
    for layer in space.skeleton.plan(width, depth):
        if isinstance(layer, CellAt):
            ops = [space.primitive(choice.op) for choice in genotype[layer.kind]]
            total = sum((_primitive(op, layer.channels, height, across) for op in ops), total)
        else:
            if isinstance(layer, ReduceAt):
                height, across = -(-height // 2), -(-across // 2)
            total += _fixed(layer, height * across, channels, classes)
    return total


def _fixed(layer: Layer, pixels: int, channels: int, classes: int) -> Cost:
    """Return the cost of a layer that is not searched; `pixels` counts its output's positions."""
    match layer:
        case StemAt(width):
            weights = 9 * channels * width
            return Cost(weights + 2 * width, weights * pixels)
        case ReduceAt(cin, cout):
            weights = 9 * cin * cout + 9 * cout * cout + cin * cout
            return Cost(weights + 4 * cout, weights * pixels)
        case HeadAt(width):
            weights = width * classes + classes
            return Cost(weights + 2 * width, weights)
    raise TypeError(f"not a fixed layer: {layer}")


@cache
def _primitive(primitive: Primitive, channels: int, height: int, across: int) -> Cost:
    if primitive.cost is not None:
        return primitive.cost(channels, height * across, True)
    return _counted(primitive, channels, height, across)


def _counted(primitive: Primitive, channels: int, height: int, across: int) -> Cost:
    """Count a primitive that brings no closed form, on a module without memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from supernet.modules import PLAIN

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module = primitive.build(channels, 1, PLAIN).eval()  # batch norm trains on no single pixel
        module(torch.empty(1, channels, height, across))
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Cost(params, counter.get_total_flops() // 2)
