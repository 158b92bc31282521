"""Depthwise convolutions and average pooling on CPUs, where PyTorch's (2.13, oneDNN) are slow.

Measured for 64 images of 16 channels and 32x32 pixels on two cores: the gradient of the weights takes 0.11 ms of a 3x3
kernel, but 1.9 ms of a 5x5 one and 1.0 ms of a dilated one; the gradient of the input of a dilated one takes 1.0 ms,
where the convolution itself takes 0.11 ms; average pooling takes 0.8 ms.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.models.fused import native
from supernet.models.fused.native import Pair, Slide
from supernet.models.fused.terms import refuse_a_second_time


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """Return what `torch.nn.functional.conv2d` returns."""
    depthwise = groups == x.shape[1] == len(weight) and groups > 1 and bias is None
    if not depthwise or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    if dilation != (1, 1) and stride == dilation and padding[0] % stride[0] == padding[1] % stride[1] == 0:
        # Only every second pixel is read: as many, next to each other, are an ordinary convolution
        x = x[:, :, :: stride[0], :: stride[1]]
        padding = (padding[0] // stride[0], padding[1] // stride[1])
        stride = dilation = (1, 1)
    slide = Slide((weight.shape[2], weight.shape[3]), stride, padding, dilation)
    out: Tensor = _Depthwise.apply(x, weight, slide)  # type: ignore[no-untyped-call]
    return out


def average(x: Tensor, pool: nn.AvgPool2d) -> Tensor:
    """Return what the average pooling returns."""
    kernel, stride, padding = (pair(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    if pool.ceil_mode or pool.divisor_override is not None or not native.takes(x):
        out: Tensor = pool(x)
    else:
        slide = Slide(kernel, stride, padding, (1, 1))
        out = _Average.apply(x, slide, pool.count_include_pad)  # type: ignore[no-untyped-call]
    return out


def pair(value: int | tuple[int, ...]) -> Pair:
    """Return a setting of rows and columns, which may be given as one number for both."""
    rows, columns = (value, value) if isinstance(value, int) else value
    return rows, columns


class _Depthwise(torch.autograd.Function):
    """A convolution of each channel with a kernel of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, slide: Slide) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.slide = slide
        return F.conv2d(x, weight, None, slide.stride, slide.padding, slide.dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_second_time()
        (x, weight), slide = ctx.saved_tensors, ctx.slide
        wanted = list(ctx.needs_input_grad[:2])
        of_x = of_weight = None
        if wanted[0] and slide.stride == (1, 1) and g.shape == x.shape:  # a convolution, with the kernel turned round
            of_x = F.conv2d(g, weight.flip(2, 3), None, 1, slide.padding, slide.dilation, len(weight))
        if wanted[1] and (slide.kernel[1] > 3 or slide.dilation != (1, 1)) and native.takes(x, g):
            of_weight = native.depthwise(x, g, slide)
        left = [wanted[0] and of_x is None, wanted[1] and of_weight is None, False]
        if any(left):
            settings = (slide.stride, slide.padding, slide.dilation, False, (0, 0), len(weight))
            found = torch.ops.aten.convolution_backward(g, x, weight, None, *settings, left)
            of_x, of_weight = (found[n] if left[n] else own for n, own in enumerate((of_x, of_weight)))
        return of_x, of_weight, None


class _Average(torch.autograd.Function):
    """Average pooling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slide: Slide, counted: bool) -> Tensor:
        ctx.settings = slide, counted, tuple(x.shape)
        return native.average(x, slide, counted=counted)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_second_time()
        slide, counted, shape = ctx.settings
        g = g.contiguous(memory_format=torch.channels_last)
        return native.average_back(g, slide, shape, counted=counted), None, None
