"""The inverted residual block of MobileNetV2 as a module, with kernels and squeeze-and-excitation of later networks."""

from __future__ import annotations

from torch import Tensor, nn

from supernet.spaces.modules import PLAIN, Norm, batch_norm


def inverted_residual(
    cin: int, cout: int, kernel: int, expand: int, stride: int = 1, norm: Norm = PLAIN, *, squeeze: bool = False
) -> Bottleneck | Residual:
    """Return the block (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s)); it adds its input where the shapes are equal."""
    bottleneck = Bottleneck(cin, cout, kernel, expand, stride, norm, squeeze=squeeze)
    return Residual(bottleneck) if (stride, cin) == (1, cout) else bottleneck


class Bottleneck(nn.Sequential):
    """A 1x1 convolution to `expand` times the channels, a depthwise convolution, and a 1x1 convolution to `cout`.

    A batch norm follows each of them, and a ReLU the first two, as in FBNet; without expansion there is no first one.
    `squeeze` puts squeeze-and-excitation before the last, with a quarter of `cin` inside, as in MnasNet.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, expand: int, stride: int, norm: Norm, *, squeeze: bool
    ) -> None:
        middle = expand * cin
        first = [nn.Conv2d(cin, middle, 1, bias=False), batch_norm(middle, norm), nn.ReLU()] if expand > 1 else []
        depthwise = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        gate = [SqueezeExcitation(middle, max(1, cin // 4))] if squeeze else []
        last = nn.Conv2d(middle, cout, 1, bias=False)
        super().__init__(*first, depthwise, batch_norm(middle, norm), nn.ReLU(), *gate, last, batch_norm(cout, norm))


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a gate of all channels' means (Hu, Shen & Sun, 2018): (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inside, 1), nn.ReLU()),
            *(nn.Conv2d(inside, channels, 1), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = x * self.gate(x)
        return out


class Residual(nn.Module):
    """Add the input to what the module `body` makes of it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = x + self.body(x)
        return out
