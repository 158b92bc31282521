"""The modules that operations and skeletons are built of; used alike by supernets and by plain networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Norm:
    """How batch normalisation is done: learned scale and shift or not, running statistics or the batch's own.

    `pools` puts one, never learned, behind every pooling operation, as DARTS does while it searches.
    """

    affine: bool = True
    track: bool = True
    pools: bool = False


PLAIN = Norm()


def batch_norm(channels: int, norm: Norm = PLAIN) -> nn.BatchNorm2d:
    """Return batch normalisation as `norm` says."""
    return nn.BatchNorm2d(channels, affine=norm.affine, track_running_stats=norm.track)


class Zero(nn.Module):
    """Output zeros of the strided input's shape: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s))."""

    def __init__(self, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.cout, self.stride = cout, stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return zeros(x, self.cout, self.stride)


def zeros(x: Tensor, channels: int, stride: int) -> Tensor:
    """Return zeros with the batch of `x`, `channels`, and its height and width divided by `stride`, rounded up."""
    return x.new_zeros(x.shape[0], channels, -(-x.shape[2] // stride), -(-x.shape[3] // stride))


class Noise(nn.Module):
    """Output fresh normal noise of the strided input's shape, in training and in evaluation (S4 of R-DARTS)."""

    def __init__(self, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.cout, self.stride = cout, stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.randn_like(zeros(x, self.cout, self.stride))


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution without bias, batch normalisation: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s))."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, norm: Norm = PLAIN) -> None:
        conv = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)
        if (kernel, stride) == (1, 2):
            conv = PointwiseHalving(cin, cout)
        super().__init__(nn.ReLU(), conv, batch_norm(cout, norm))


class PointwiseHalving(nn.Conv2d):
    """A 1x1 convolution with stride 2 and no bias, as one of stride 1 on every second pixel.

    The same numbers, and the same parameters. PyTorch's own (2.13 on a CPU with AVX-512) writes beyond its memory in
    the backward pass of channels-last images with 8 channels or fewer, and the process dies.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(x[:, :, ::2, ::2])


class FactorizedReduce(nn.Module):
    """Halve the resolution without losing pixels: (B, Ci, H, W) -> (B, Co, ceil(H/2), ceil(W/2)).

    DARTS: ReLU, two 1x1 convolutions with stride 2, the second one pixel further down and right, side by side, batch
    norm. An odd side, which DARTS cannot take, gets one more row of zeros for the second.
    """

    def __init__(self, cin: int, cout: int, norm: Norm = PLAIN) -> None:
        super().__init__()
        first = cout // 2
        self.here = PointwiseHalving(cin, first) if first else None
        self.beyond = PointwiseHalving(cin, cout - first)
        self.norm = batch_norm(cout, norm)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = F.relu(x)
        shifted = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        parts = [self.beyond(shifted)] if self.here is None else [self.here(x), self.beyond(shifted)]
        out: Tensor = self.norm(torch.cat(parts, dim=1))
        return out


def separable(
    cin: int, cout: int, kernel: int, stride: int = 1, dilation: int = 1, norm: Norm = PLAIN
) -> list[nn.Module]:
    """Return ReLU, depthwise convolution with the stride, pointwise convolution, batch norm."""
    padding = dilation * (kernel - 1) // 2
    depthwise = nn.Conv2d(cin, cin, kernel, stride, padding, dilation, groups=cin, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(cin, cout, 1, bias=False), batch_norm(cout, norm)]
