"""Depthwise convolutions and average pooling on CPUs, where PyTorch (2.13, oneDNN) is slow, said in what is fast.

Measured for 64 images of 16 channels and 32x32 pixels on two cores: the gradient of a 5x5 kernel takes 1.9 ms and that
of a dilated one 1.0 ms, of a 3x3 kernel 0.11 ms; average pooling 0.8 ms, a 3x3 convolution 0.11 ms.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.kernels.terms import refuse_a_second_time

Pair = tuple[int, int]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """Return what `torch.nn.functional.conv2d` returns."""
    if groups == x.shape[1] == len(weight) and groups > 1 and bias is None and _ours(x):
        if (
            dilation != (1, 1)
            and stride == dilation
            and all(p % d == 0 for p, d in zip(padding, dilation, strict=True))
        ):
            # Only every second pixel is read: as many, next to each other, are an ordinary convolution
            x = x[:, :, :: stride[0], :: stride[1]]
            padding = (padding[0] // dilation[0], padding[1] // dilation[1])
            stride = dilation = (1, 1)
        out: Tensor = _Depthwise.apply(x, weight, stride, padding, dilation)  # type: ignore[no-untyped-call]
        return out
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def average(x: Tensor, pool: nn.AvgPool2d) -> Tensor:
    """Return what the average pooling returns."""
    kernel, stride, padding = (_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    if pool.ceil_mode or pool.divisor_override is not None or not _ours(x):
        out: Tensor = pool(x)
        return out
    ones = x.new_ones(x.shape[1], 1, *kernel)
    total: Tensor = _Depthwise.apply(x, ones, stride, padding, (1, 1))  # type: ignore[no-untyped-call]
    if pool.count_include_pad:
        return total.div_(kernel[0] * kernel[1])
    return total.mul_(_shares(tuple(x.shape[1:]), kernel, stride, padding, x.dtype))


def _ours(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _divides(dilation: Pair, padding: Pair) -> bool:
    return padding[0] % dilation[0] == 0 and padding[1] % dilation[1] == 0


@cache
@torch.inference_mode(False)  # made once, it must be of use to training, too
def _shares(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dtype: torch.dtype) -> Tensor:
    """Return for every output one over the number of pixels that its window has in an image of `shape` (C, H, W).

    It is repeated for all channels: a factor that is the same for all of them makes many short loops of one long one.
    """
    counts = F.conv2d(
        torch.ones(1, 1, *shape[1:], dtype=dtype), torch.ones(1, 1, *kernel, dtype=dtype), None, stride, padding
    )
    return (1 / counts).repeat(1, shape[0], 1, 1).contiguous(memory_format=torch.channels_last)


class _Depthwise(torch.autograd.Function):
    """A convolution of each channel with a kernel of its own; what is slow in its gradient is put differently.

    - Of a stride of 1, the gradient of x is again a convolution, of g with the kernel turned round.
    - A gradient of a dilated kernel is that of an ordinary one on interleaved parts of the image, each taken for an
      image of its own.
    - A gradient of a kernel wider than 3 is taken in strips of 3 columns.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding, dilation
        return F.conv2d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_second_time()
        (x, weight), (stride, padding, dilation) = ctx.saved_tensors, ctx.settings
        of_x = _of_x(g, x, weight, stride, padding, dilation) if ctx.needs_input_grad[0] else None
        of_weight = _of_weight(g, x, weight, stride, padding, dilation) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None, None, None


def _of_x(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    if stride != (1, 1) or g.shape != x.shape:
        return _stock(g, x, weight, stride, padding, dilation, of_x=True)
    return F.conv2d(g, weight.flip(2, 3), None, 1, padding, dilation, len(weight))


def _of_weight(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    rows, columns = dilation
    if dilation != (1, 1) and stride == (1, 1) and g.shape == x.shape and _divides(dilation, padding):
        x, g = _interleaved(x, rows, columns), _interleaved(g, rows, columns)
        padding, dilation = (padding[0] // rows, padding[1] // columns), (1, 1)
    width = weight.shape[3]
    if width != 5 or dilation != (1, 1) or stride != (1, 1) or padding[1] != 2:
        return _stock(g, x, weight, stride, padding, dilation, of_x=False)
    # Two strips that share the middle column: x with its padding, and g moved so that the strip's first column is 0, 2
    x, strip = F.pad(x, (2, 2)), weight[..., :3]
    left, right = (
        _stock(F.pad(g, sides), x, strip, stride, (padding[0], 0), dilation, of_x=False) for sides in ((0, 2), (2, 0))
    )
    return torch.cat([left, right[..., 1:]], 3)


def _interleaved(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return every r-th row and c-th column as an image, from each first one: (B, C, H, W) -> (B r c, C, H/r, W/c).

    Zeros are added where the sides do not divide: outside of the image they have no effect.
    """
    count, channels, height, width = x.shape
    x = F.pad(x, (0, -width % columns, 0, -height % rows))
    height, width = x.shape[2] // rows, x.shape[3] // columns
    parts = x.permute(0, 2, 3, 1).reshape(count, height, rows, width, columns, channels).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(count * rows * columns, height, width, channels).permute(0, 3, 1, 2)


def _stock(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, *, of_x: bool) -> Tensor:
    settings = (stride, padding, dilation, False, (0, 0), len(weight), (of_x, not of_x, False))
    found = torch.ops.aten.convolution_backward(g, x, weight, None, *settings)
    return found[0] if of_x else found[1]  # type: ignore[no-any-return]
