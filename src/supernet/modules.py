"""The modules that operations and skeletons are built of; used alike by supernets and by plain networks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Norm:
    """How batch normalisation is done: learned scale and shift or not, running statistics or the batch's own."""

    affine: bool = True
    track: bool = True


PLAIN = Norm()


def batch_norm(channels: int, norm: Norm = PLAIN) -> nn.BatchNorm2d:
    """Return batch normalisation as `norm` says."""
    return nn.BatchNorm2d(channels, affine=norm.affine, track_running_stats=norm.track)


class Zero(nn.Module):
    """Output zeros of the (strided) input's shape."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution without bias, batch normalisation: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s))."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, norm: Norm = PLAIN) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(cin, cout, kernel, stride=stride, padding=kernel // 2, bias=False),
            batch_norm(cout, norm),
        )
