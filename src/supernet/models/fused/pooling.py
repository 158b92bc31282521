"""Average pooling by the kernel in pooling.c, for channels-last images on the CPU, with PyTorch's own bits.

PyTorch's kernel (2.13) takes three to four times as long where images are small and have few channels, and in a dense
step of NAS-Bench-201 it runs once per node.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from supernet.models.fused.compiler import TYPES, library
from supernet.models.fused.convolutions import pair

Sizes = tuple[int, int]
"""Rows and columns."""


class AveragePool:
    """Run an average pooling; the module itself runs where the kernel cannot."""

    def __init__(self, leaf: nn.AvgPool2d) -> None:
        self.leaf = leaf
        self._windows = (pair(leaf.kernel_size), pair(leaf.stride), pair(leaf.padding), leaf.count_include_pad)
        allowed = all(2 * p <= k for p, k in zip(pair(leaf.padding), pair(leaf.kernel_size), strict=True))
        self._plain = allowed and not leaf.ceil_mode and leaf.divisor_override is None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the means of the windows, (B, C, H', W') for `x` (B, C, H, W)."""
        usable = (
            self._plain
            and x.device.type == "cpu"
            and x.dtype in TYPES
            and x.is_contiguous(memory_format=torch.channels_last)
            and not torch.is_autocast_enabled("cpu")
            and library() is not None
        )
        sides = _sides((x.shape[2], x.shape[3]), *self._windows) if usable else None
        if sides is None or min(side.out for side in sides) < 1:  # then PyTorch says what is wrong
            return self.leaf(x)  # type: ignore[no-any-return]
        out: Tensor = _Average.apply(x, sides, False)  # type: ignore[no-untyped-call]
        return out


class _Side(ctypes.Structure):
    """The struct Side of pooling.c."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("in_", "out", "kernel", "stride", "padding", "padded"))


@lru_cache(256)
def _sides(sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, padded: bool) -> tuple[_Side, _Side]:
    """Return the windows of rows and of columns for images of these sizes."""
    rows, columns = (
        _Side(n, (n + 2 * p - k) // s + 1, k, s, p, padded)
        for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True)
    )
    return rows, columns


class _Average(torch.autograd.Function):
    """The means of windows, or with `back` the gradient of the pixels; each is the other's derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sides: tuple[_Side, _Side], back: bool) -> Tensor:
        ctx.sides, ctx.back = sides, back
        images, channels = x.shape[:2]
        shape = (images, channels, *(side.in_ if back else side.out for side in sides))
        out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        getattr(library(), f"average_{TYPES[x.dtype]}")(
            *(ctypes.c_long(channels), ctypes.c_long(images), *map(ctypes.byref, sides)),
            *(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(out.data_ptr()), back),
            ctypes.c_long(torch.get_num_threads()),
        )
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        g = g.contiguous(memory_format=torch.channels_last)
        return _Average.apply(g, ctx.sides, not ctx.back), None, None  # type: ignore[no-untyped-call]
