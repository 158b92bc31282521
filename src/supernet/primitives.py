"""Primitives: the named candidate operations, and what is known of each without building it.

Costs are closed forms. FLOPs are counted as the field's tables count them, one per multiply-add, convolutions only.
PyTorch is imported when a primitive is built, so that spaces, genotypes and tables can be used without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from supernet.modules import Norm


@dataclass(frozen=True)
class Cost:
    """Learnable parameters, and multiply-adds for one image."""

    params: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.flops + other.flops)


@dataclass(frozen=True)
class Primitive:
    """One candidate operation, C channels in, C channels out.

    - `build(channels, stride, norm)` returns the module.
    - `cost(channels, pixels, affine)` is its closed form; `pixels` counts the output's positions. Left out, the cost
      is counted on a module built without memory, by `supernet.cost`.
    - `learned` says whether it has weights; one without is what a collapsed search is made of.
    - `zero` marks the operation that outputs nothing; a supernet does not run it.
    """

    name: str
    build: Callable[[int, int, Norm], nn.Module]
    learned: bool = True
    cost: Callable[[int, int, bool], Cost] | None = None
    zero: bool = False


def _free(channels: int, pixels: int, affine: bool) -> Cost:
    return Cost()


def _zero(channels: int, stride: int, norm: Norm) -> nn.Module:
    from supernet.modules import Zero

    return Zero(stride)


def _skip(channels: int, stride: int, norm: Norm) -> nn.Module:
    from torch import nn

    if stride != 1:
        raise UserError(f"skip_connect passes its input on unchanged and cannot have stride {stride}")
    return nn.Identity()


def _avg_pool(channels: int, stride: int, norm: Norm) -> nn.Module:
    from torch import nn

    return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)


def _nor_conv(kernel: int) -> Primitive:
    def build(channels: int, stride: int, norm: Norm) -> nn.Module:
        from supernet.modules import ReLUConvBN

        return ReLUConvBN(channels, channels, kernel, stride, norm)

    def cost(channels: int, pixels: int, affine: bool) -> Cost:
        weights = kernel * kernel * channels * channels
        return Cost(weights + 2 * channels * affine, weights * pixels)

    return Primitive(f"nor_conv_{kernel}x{kernel}", build, cost=cost)


PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        Primitive("none", _zero, learned=False, cost=_free, zero=True),
        Primitive("skip_connect", _skip, learned=False, cost=_free),
        _nor_conv(1),
        _nor_conv(3),
        Primitive("avg_pool_3x3", _avg_pool, learned=False, cost=_free),
    )
}
