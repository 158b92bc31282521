"""The modules that primitives and skeletons are built of; used alike by supernets and by plain networks."""

from __future__ import annotations

from torch import Tensor, nn

from supernet.primitives import Norm
from supernet.spaces.base import HeadAt, Layer, ReduceAt, StemAt

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


class Reduction(nn.Module):
    """NAS-Bench-201's residual block with stride 2; its batch norm is always learned, also in a supernet.

    (B, Ci, H, W) -> (B, Co, ceil(H/2), ceil(W/2)): of an odd side the pool keeps the last row, as the convolution does.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ReLUConvBN(cin, cout, 3, stride=2), ReLUConvBN(cout, cout, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2, ceil_mode=True), nn.Conv2d(cin, cout, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


def build_layer(layer: Layer, channels: int, classes: int) -> nn.Module:
    """Build a layer that is not searched; `channels` and `classes` are the image's and the data's."""
    match layer:
        case StemAt(width):
            return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), batch_norm(width))
        case ReduceAt(cin, cout):
            return Reduction(cin, cout)
        case HeadAt(width):
            pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return nn.Sequential(batch_norm(width), nn.ReLU(), *pool, nn.Linear(width, classes))
    raise TypeError(f"not a fixed layer: {layer}")
