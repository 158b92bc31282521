"""Slices: the inverted residual blocks of an edge as slices of one block, so that a step of one trains all in part.

A block has the first channels and the middle of the kernels of the largest weights of its edge: Single-Path NAS
(Stamoulis et al., ECML PKDD 2019, arXiv 1904.02877) and BigNAS (Yu et al., ECCV 2020, arXiv 2003.11142). With weights
of their own, as in ProxylessNAS and FBNet, each of 12 blocks learns in a twelfth of the steps that train one path, and
seven such edges in a row have learned hardly anything when the slices have (docs/add-a-space.md has the numbers). Batch
norms are not shared.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from supernet.spaces.residual import InvertedResidual


class SlicedConv2d(nn.Conv2d):
    """A convolution whose weight is the first channels, and the middle of the kernels, of a larger one."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        rows, columns = ((have - used) // 2 for have, used in zip(weight.shape[2:], self.kernel_size, strict=True))
        height, width = self.kernel_size
        part = weight[: self.out_channels, : self.in_channels // self.groups]
        part = part[:, :, rows : rows + height, columns : columns + width]
        out: Tensor = super()._conv_forward(input, part, None if bias is None else bias[: self.out_channels])
        return out


def share_slices(operations: Iterable[nn.Module]) -> None:
    """Let the inverted residual blocks in the operations of an edge share the weights of their convolutions."""
    convolutions: dict[str, list[nn.Conv2d]] = {}
    blocks = (part for operation in operations for part in operation.modules() if isinstance(part, InvertedResidual))
    for block in blocks:
        for name, conv in block.convolutions.items():
            convolutions.setdefault(name, []).append(conv)
    for same in convolutions.values():
        if len(same) > 1:
            _share(same)


def _share(convolutions: list[nn.Conv2d]) -> None:
    """Give all convolutions one weight and one bias, whose size is the largest in each dimension."""
    first = convolutions[0]
    inputs, outputs = (max(getattr(conv, f"{end}_channels") for conv in convolutions) for end in ("in", "out"))
    kernel = max(conv.kernel_size[0] for conv in convolutions)  # of blocks, which have square ones
    whole = nn.Conv2d(inputs, outputs, kernel, groups=1 if first.groups == 1 else inputs, bias=first.bias is not None)
    for conv in convolutions:
        conv.__class__ = SlicedConv2d  # in place, since hooks and the block hold the module
        conv.weight, conv.bias = whole.weight, whole.bias
