"""Depthwise convolutions on CPUs, where PyTorch (2.13, oneDNN) is slow if a kernel is dilated.

Measured for a dilated 3x3 kernel and 64 images of 16 channels and 32x32 pixels on two cores: PyTorch's gradient of the
input takes 1.0 ms and the convolution itself 0.11 ms, so the gradient is computed as a convolution. The gradient of the
weights takes 1.0 ms, and 0.11 ms without dilation.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.models.fused.terms import refuse_second_derivatives

Pair = tuple[int, int]
"""Rows and columns."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """Return the result of `torch.nn.functional.conv2d` with these arguments."""
    depthwise = groups == x.shape[1] == len(weight) and groups > 1 and bias is None
    if not depthwise or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    if dilation != (1, 1) and stride == dilation and padding[0] % stride[0] == padding[1] % stride[1] == 0:
        # The convolution reads only every second pixel: on those pixels it is an ordinary one
        x = x[:, :, :: stride[0], :: stride[1]]
        padding = (padding[0] // stride[0], padding[1] // stride[1])
        stride = dilation = (1, 1)
    same = all(2 * p == d * (k - 1) for p, d, k in zip(padding, dilation, weight.shape[2:], strict=True))
    if stride != (1, 1) or not same:
        return F.conv2d(x, weight, None, stride, padding, dilation, groups)
    out: Tensor = _Depthwise.apply(x, weight, padding, dilation)  # type: ignore[no-untyped-call]
    return out


def pair(value: int | tuple[int, ...]) -> Pair:
    """Return (rows, columns) from a convolution's setting, which may be one number for both."""
    rows, columns = (value, value) if isinstance(value, int) else value
    return rows, columns


class _Depthwise(torch.autograd.Function):
    """A convolution with one kernel per channel, with stride 1 and an output of the input's size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Pair, dilation: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = padding, dilation
        return F.conv2d(x, weight, None, 1, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        (x, weight), (padding, dilation) = ctx.saved_tensors, ctx.settings
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:  # a convolution with the kernel rotated by 180 degrees
            of_x = F.conv2d(g, weight.flip(2, 3), None, 1, padding, dilation, len(weight))
        if ctx.needs_input_grad[1]:
            settings = ((1, 1), padding, dilation, False, (0, 0), len(weight))
            _, of_weight, _ = torch.ops.aten.convolution_backward(g, x, weight, None, *settings, (False, True, False))
        return of_x, of_weight, None, None
