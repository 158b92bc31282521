"""Residual blocks as modules: ResNet's basic block, and the inverted residual of MobileNetV2 and its followers.

They begin with PyTorch's own initial weights, as every operation of a space does.
"""

from __future__ import annotations

from torch import Tensor, nn

from supernet.spaces.modules import PLAIN, Norm, activated, conv_bn, drop_path


class Residual(nn.Module):
    """The sum of a shortcut and a body, then `after`: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s)).

    Without a shortcut it is the body alone. Drop-path, in networks that have it, drops the body and keeps the shortcut.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after or nn.Identity()

    def forward(self, x: Tensor, dropped: float = 0.0) -> Tensor:
        """Return the output; `dropped` is the probability that an image's body is dropped."""
        part: Tensor = self.body(x)
        if self.shortcut is not None:
            part = self.shortcut(x) + (drop_path(part, dropped) if dropped else part)
        out: Tensor = self.after(part)
        return out

    def dropping(self, x: Tensor, part: Tensor, probability: float) -> Tensor:
        """Return `part`, the output for `x`, with the body dropped for some images, where it is a sum with `x`.

        A block without a shortcut stays whole, as nothing else leads through its stage, and so does one with `after`.
        """
        is_sum = isinstance(self.shortcut, nn.Identity) and isinstance(self.after, nn.Identity)
        return x + drop_path(part - x, probability) if is_sum else part


class InvertedResidual(Residual):
    """A residual of a depthwise convolution between two 1x1 convolutions; see `inverted_residual`."""

    @property
    def convolutions(self) -> dict[str, nn.Conv2d]:
        """The convolutions by their part: depthwise and project, where there are some expand, squeeze and excite."""
        chain = [part for part in self.body.children() if isinstance(part, nn.Conv2d)]
        gate = [part for part in self.body.modules() if isinstance(part, nn.Conv2d) and part not in chain]
        names = ("expand", "depthwise", "project")[-len(chain) :] + ("squeeze", "excite")[: len(gate)]
        return dict(zip(names, [*chain, *gate], strict=True))


class Excitation(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018): scale each channel by a number learned of all: (B, C, H, W) -> same."""

    def __init__(self, channels: int, squeezed: int, activation: str) -> None:
        super().__init__()
        first, second = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), first, activated(activation), second, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = x * self.scale(x)
        return out


def basic_block(cin: int, cout: int, stride: int, norm: Norm) -> Residual:
    """Build ResNet's block of two 3x3 convolutions; a 1x1 convolution is the shortcut where the shape changes."""
    body = nn.Sequential(*conv_bn(cin, cout, 3, stride, "relu", norm=norm), *conv_bn(cout, cout, 3, norm=norm))
    same = (stride, cin) == (1, cout)
    shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(cin, cout, 1, stride, norm=norm))
    return Residual(body, shortcut, nn.ReLU())


def inverted_residual(
    cin: int,
    cout: int,
    stride: int = 1,
    norm: Norm = PLAIN,
    *,
    kernel: int,
    expand: int,
    activation: str = "relu",
    squeeze: bool = False,
) -> InvertedResidual:
    """Build a depthwise convolution between two 1x1 convolutions, of which the first expands the channels.

    With `squeeze`, a squeeze-and-excitation with a quarter of the input's channels follows the depthwise convolution.
    """
    inside = cin * expand
    parts = conv_bn(cin, inside, 1, 1, activation, norm=norm) if expand > 1 else []
    parts += conv_bn(inside, inside, kernel, stride, activation, inside, norm)
    parts += [Excitation(inside, max(1, cin // 4), activation)] if squeeze else []
    body = nn.Sequential(*parts, *conv_bn(inside, cout, 1, norm=norm))
    return InvertedResidual(body, nn.Identity() if (stride, cin) == (1, cout) else None)
