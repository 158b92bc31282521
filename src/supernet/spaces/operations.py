"""Primitives: the named candidate operations and their builders.

PyTorch is imported only when a primitive is built: spaces, genotypes and tables work without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from supernet.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from supernet.spaces.modules import Norm


SKIPS = ("skip_connect", "identity")
"""The names of the skip connections."""


@dataclass(frozen=True)
class Primitive:
    """One candidate operation: (B, `cin`, H, W) -> (B, `cout`, ceil(H/`stride`), ceil(W/`stride`)).

    - `build(cin, cout, stride, norm)` returns the module, or raises UserError for channels or a stride that the
      operation cannot have. In most cells `cin` and `cout` are equal.
    - `learned`: whether the operation has weights at stride 1; collapsed searches prefer operations without.
    - `zero` marks the operation that outputs zeros; networks skip it.
    """

    name: str
    build: Callable[[int, int, int, Norm], nn.Module]
    learned: bool = True
    zero: bool = False

    def __hash__(self) -> int:
        return hash(self.name)  # an own builder may have none, as an object of a dataclass

    def __reduce__(self) -> Any:
        """Return how `pickle` makes the operation again: a built-in one by its name, as its builder has none."""
        known = PRIMITIVES.get(self.name) is self
        return (_built_in, (self.name,)) if known else (Primitive, (self.name, self.build, self.learned, self.zero))

    def module(self, cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        """Return what `build` returns, with every convolution safe to train on any device and in any memory format.

        Modules that work in place no longer do, since other operations read the same input.

        Raises TypeError if `build` makes no module, and whatever `build` raises.
        """
        from torch import nn

        from supernet.spaces.modules import out_of_place, without_gaps

        built = self.build(cin, cout, stride, norm)
        if not isinstance(built, nn.Module):
            raise TypeError(f"build returned a {type(built).__name__}, no module")
        return without_gaps(out_of_place(built))


def _built_in(name: str) -> Primitive:
    return PRIMITIVES[name]


def _none(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
    from supernet.spaces.modules import Zero

    return Zero(cout, stride)


def _noise(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
    from supernet.spaces.modules import Noise

    return Noise(cout, stride)


def _skip(name: str, *, relu: bool) -> Primitive:
    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from torch import nn

        from supernet.spaces.modules import FactorizedReduce

        if stride == 2:
            return FactorizedReduce(cin, cout, norm, relu=relu)
        if (stride, cin) != (1, cout):
            raise UserError(f"{name} passes its input on: it cannot turn {cin} channels into {cout} at stride {stride}")
        return nn.Identity()

    return Primitive(name, build, learned=False)


def _pool(kind: str) -> Primitive:
    name = f"{kind}_pool_3x3"

    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from torch import nn

        if cin != cout:
            raise UserError(f"{name} keeps the number of channels: it cannot turn {cin} into {cout}")
        average = nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
        pool = average if kind == "avg" else nn.MaxPool2d(3, stride=stride, padding=1)
        if not norm.pools:
            return pool
        return nn.Sequential(pool, nn.BatchNorm2d(cout, affine=False, track_running_stats=norm.track))

    return Primitive(name, build, learned=False)


def _nor_conv(kernel: int) -> Primitive:
    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from supernet.spaces.modules import ReLUConvBN

        return ReLUConvBN(cin, cout, kernel, stride, norm)

    return Primitive(f"nor_conv_{kernel}x{kernel}", build)


def _sep_conv(kernel: int) -> Primitive:
    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from torch import nn

        from supernet.spaces.modules import separable

        return nn.Sequential(*separable(cin, cin, kernel, stride, norm=norm), *separable(cin, cout, kernel, norm=norm))

    return Primitive(f"sep_conv_{kernel}x{kernel}", build)


def _dil_conv(kernel: int) -> Primitive:
    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from torch import nn

        from supernet.spaces.modules import separable

        return nn.Sequential(*separable(cin, cout, kernel, stride, dilation=2, norm=norm))

    return Primitive(f"dil_conv_{kernel}x{kernel}", build)


def inverted(name: str, *, kernel: int, expand: int, activation: str = "relu", squeeze: bool = False) -> Primitive:
    """Return an inverted residual block as an operation (see `supernet.spaces.residual`)."""

    def build(cin: int, cout: int, stride: int, norm: Norm) -> nn.Module:
        from supernet.spaces.residual import inverted_residual

        return inverted_residual(
            cin, cout, stride, norm, kernel=kernel, expand=expand, activation=activation, squeeze=squeeze
        )

    return Primitive(name, build)


def _mobile(expand: int, kernel: int, gate: str) -> Primitive:
    return inverted(f"mb{expand}_k{kernel}{gate}", kernel=kernel, expand=expand, squeeze=bool(gate))


PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        Primitive("none", _none, learned=False, zero=True),
        _skip("skip_connect", relu=True),  # DARTS'
        _skip("identity", relu=False),  # NAO's
        Primitive("noise", _noise, learned=False),
        *(_pool(kind) for kind in ("avg", "max")),
        *(_nor_conv(kernel) for kernel in (1, 3)),
        *(_sep_conv(kernel) for kernel in (3, 5, 7)),
        *(_dil_conv(kernel) for kernel in (3, 5, 7)),
        *(_mobile(*block) for block in product((1, 3, 4, 6), (3, 5, 7), ("", "_se"))),
    )
}
