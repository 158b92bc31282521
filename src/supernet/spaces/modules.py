"""The building blocks of operations and skeletons as modules, shared by supernets and standalone networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.errors import unknown


@dataclass(frozen=True)
class Norm:
    """The kind of batch normalisation in a network.

    `affine` learns scale and shift; `track` keeps running statistics, otherwise evaluation uses batch statistics, too;
    `pools` puts a batch norm without scale and shift behind every pooling operation, as DARTS does in its search.
    """

    affine: bool = True
    track: bool = True
    pools: bool = False


PLAIN = Norm()
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU}


def activated(name: str) -> nn.Module:
    """Return the activation of a name; raises UserError if there is none."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def batch_norm(channels: int, norm: Norm = PLAIN) -> nn.BatchNorm2d:
    """Return a batch normalisation of the kind `norm`."""
    return nn.BatchNorm2d(channels, affine=norm.affine, track_running_stats=norm.track)


class Zero(nn.Module):
    """Output zeros: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s))."""

    def __init__(self, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.cout, self.stride = cout, stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return zeros(x, self.cout, self.stride)


def zeros(x: Tensor, channels: int, stride: int) -> Tensor:
    """Return zeros (B, `channels`, ceil(H/`stride`), ceil(W/`stride`)) for `x` (B, C, H, W), in its memory format."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    shape = (x.shape[0], channels, -(-x.shape[2] // stride), -(-x.shape[3] // stride))
    return torch.zeros(shape, dtype=x.dtype, device=x.device).contiguous(memory_format=memory_format)


class Noise(nn.Module):
    """Output fresh standard normal noise of the shape of `Zero`'s output, in training and evaluation (R-DARTS' S4)."""

    def __init__(self, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.cout, self.stride = cout, stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.randn_like(zeros(x, self.cout, self.stride))


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution without bias, batch normalisation: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s))."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, norm: Norm = PLAIN) -> None:
        halving = [EverySecond()] if (kernel, stride) == (1, 2) else []
        conv = nn.Conv2d(cin, cout, kernel, 1 if halving else stride, padding=kernel // 2, bias=False)
        super().__init__(nn.ReLU(), *halving, conv, batch_norm(cout, norm))


class EverySecond(nn.Module):
    """Keep every second row and column, from the first: (B, C, H, W) -> (B, C, ceil(H/2), ceil(W/2)).

    Before a 1x1 convolution this replaces stride 2: PyTorch's own stride (2.13 on a CPU with AVX-512) writes out of
    bounds in the backward pass of channels-last images with 8 channels or fewer, and the process dies.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x[:, :, ::2, ::2]


def out_of_place(module: nn.Module) -> nn.Module:
    """Return `module`, in which no part such as `nn.ReLU(inplace=True)` writes its output over its input."""
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    return module


def without_gaps(module: nn.Module) -> nn.Module:
    """Return `module`, in which no convolution has a stride above its kernel: it reads only the pixels that it uses.

    Such a convolution skips pixels between two places of its kernel, and PyTorch's backward pass of it can end the
    process (see `EverySecond`). In every `nn.Conv2d` of `module` the stride becomes at most the kernel, and a hook
    hands on the pixels that the kernel met before, so that weights, their names and all numbers stay the same.
    """
    for part in module.modules():
        gaps = _gaps(part)
        if isinstance(part, nn.Conv2d) and any(gaps):
            part.register_forward_pre_hook(_UsedPixels(part))
            part.stride = _each(gaps, part.kernel_size, part.stride)
            part.dilation = _each(gaps, (1, 1), part.dilation)
            part.padding, part.padding_mode = (0, 0), "zeros"
    return module


def _gaps(part: nn.Module) -> list[bool]:
    """Return for rows and columns whether a convolution skips pixels between two places of its kernel.

    A subclass with a forward pass of its own may pad as its stride says, which changes nothing only for a single pixel.
    """
    if not isinstance(part, nn.Conv2d):
        return []
    gaps = [s > k for s, k in zip(part.stride, part.kernel_size, strict=True)]
    own = (type(part).forward, type(part)._conv_forward) != (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return [] if own and any(gap and k > 1 for gap, k in zip(gaps, part.kernel_size, strict=True)) else gaps


def _each(choices: Sequence[bool], those: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    return tuple(a if choice else b for choice, a, b in zip(choices, those, others, strict=True))


class _UsedPixels:
    """Pad the input of a convolution, and keep only the rows and columns that its kernel meets, side by side."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.padding = list(conv._reversed_padding_repeated_twice)  # as `pad` takes it: columns, then rows
        self.mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        self.kernel, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation

    def __call__(self, conv: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = F.pad(inputs[0], self.padding, mode=self.mode) if any(self.padding) else inputs[0]
        for dim, kernel, stride, dilation in zip((-2, -1), self.kernel, self.stride, self.dilation, strict=True):
            if stride > kernel:
                x = _used(x, dim, kernel, stride, dilation)
        return (x, *inputs[1:])


def _used(x: Tensor, dim: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """Return the rows (`dim` -2) or columns (-1) of `x` that a kernel meets, place after place."""
    count = max(0, (x.shape[dim] - dilation * (kernel - 1) - 1) // stride + 1)
    last = x.transpose(dim, -1)
    met = [last[..., dilation * n :: stride][..., :count].transpose(dim, -1) for n in range(kernel)]
    return met[0] if kernel == 1 else torch.stack(met, dim).flatten(dim - 1, dim)


class FactorizedReduce(nn.Sequential):
    """Halve the resolution without losing pixels: (B, Ci, H, W) -> (B, Co, ceil(H/2), ceil(W/2)).

    As in DARTS: ReLU, two 1x1 convolutions with stride 2 side by side, the second shifted by one pixel down and right,
    batch norm. For an odd side, which DARTS' code rejects, the second convolution reads one more row of zeros. NAO's
    strided identity is the same without the ReLU.
    """

    def __init__(self, cin: int, cout: int, norm: Norm = PLAIN, *, relu: bool = True) -> None:
        super().__init__(*[nn.ReLU()] * relu, TwoHalvings(cin, cout), batch_norm(cout, norm))


class TwoHalvings(nn.Module):
    """The two convolutions of a factorised reduction, side by side."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        first = cout // 2
        self.pick = EverySecond()
        self.here = nn.Conv2d(cin, first, 1, bias=False) if first else None
        self.beyond = nn.Conv2d(cin, cout - first, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        shifted = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        beyond: Tensor = self.beyond(self.pick(shifted))
        return beyond if self.here is None else torch.cat([self.here(self.pick(x)), beyond], dim=1)


class Unused(nn.Module):
    """Join the unread nodes of a supernet's cell to its output: n tensors (B, C, H, W) -> (B, C, H, W).

    As in NAO: concatenation, ReLU, a 1x1 convolution whose weight is the concatenation of one block per node, batch
    norm. The output has the same number of channels whichever nodes are unread.
    """

    def __init__(self, nodes: int, channels: int, norm: Norm = PLAIN) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(nodes))
        self.norm = batch_norm(channels, norm)

    def forward(self, values: Sequence[Tensor], nodes: Sequence[int]) -> Tensor:
        """Join `values`, the tensors of the nodes with the numbers `nodes`."""
        weight = torch.cat([self.blocks[node].weight for node in nodes], dim=1)  # type: ignore[misc]
        out: Tensor = self.norm(F.conv2d(F.relu(torch.cat(list(values), dim=1)), weight))
        return out


def separable(
    cin: int, cout: int, kernel: int, stride: int = 1, dilation: int = 1, norm: Norm = PLAIN
) -> list[nn.Module]:
    """Return ReLU, depthwise convolution with `stride` and `dilation`, pointwise convolution, batch norm."""
    padding = dilation * (kernel - 1) // 2
    depthwise = nn.Conv2d(cin, cin, kernel, stride, padding, dilation, groups=cin, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(cin, cout, 1, bias=False), batch_norm(cout, norm)]


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Set an image's features to 0 with this probability and scale up all others: (B, C, H, W) -> (B, C, H, W).

    FractalNet (Larsson, Maire & Shakhnarovich, 2017), with one draw per image, as in DARTS.
    """
    keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - probability)
    return x * keep / (1 - probability)


def conv_bn(
    cin: int, cout: int, kernel: int, stride: int = 1, activation: str = "", groups: int = 1, norm: Norm = PLAIN
) -> list[nn.Module]:
    """Return convolution without bias, batch norm and, if there is one, the activation "relu", "relu6" or "silu".

    Raises UserError for another activation.
    """
    conv = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, batch_norm(cout, norm), *([activated(activation)] if activation else [])]
