"""The layers that are not searched: stem, reductions and head, the same in a supernet and in a plain network."""

from __future__ import annotations

from torch import Tensor, nn

from supernet.modules import ReLUConvBN, batch_norm
from supernet.spaces.base import HeadAt, Layer, ReduceAt, StemAt


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
