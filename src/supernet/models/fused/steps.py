"""Steps of a plan: each runs several leaves of one kind as one operation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from supernet.models.fused.convolutions import convolve, pair
from supernet.models.fused.pooling import AveragePool
from supernet.models.fused.terms import Normalisation, Term
from supernet.models.fused.weighted_sum import weighted_sums
from supernet.spaces.modules import EverySecond


def step(leaves: Sequence[nn.Module], *, side_by_side: bool) -> Callable[[Tensor], Tensor]:
    """Return the operation that runs leaves of one kind and leaves its input, which others may read, unchanged.

    The leaves read the same tensor, or, if `side_by_side`, each reads its own part of the tensor.
    """
    first = leaves[0]
    if is_convolution(first):
        return _Convolutions([leaf for leaf in leaves if isinstance(leaf, nn.Conv2d)], side_by_side=side_by_side)
    if is_norm(first):
        return Norms([leaf for leaf in leaves if isinstance(leaf, nn.BatchNorm2d)])
    if type(first) is nn.AvgPool2d and not has_hooks(first):
        return AveragePool(first)
    return first


def kind(leaf: nn.Module) -> Hashable:
    """Return a value that is equal for leaves that can run as one operation; None for a leaf that cannot.

    Batch norms can only if their `mode` is equal, too.
    """
    if type(leaf) is nn.AvgPool2d:
        return repr(leaf), leaf.ceil_mode, leaf.count_include_pad, leaf.divisor_override
    if type(leaf) in (nn.ReLU, nn.MaxPool2d, EverySecond) or is_convolution(leaf):
        return repr(leaf)
    if is_norm(leaf):
        return nn.BatchNorm2d, leaf.num_features, leaf.eps, leaf.weight is None, leaf.bias is None
    return None


def mode(norm: nn.BatchNorm2d) -> Hashable:
    """Return what can be set anew in a batch norm and is read when it runs."""
    return norm.training, norm.momentum, norm.track_running_stats


def is_replaced(leaf: nn.Module) -> bool:
    """Return whether the engine computes the leaf by its own code instead of calling the module."""
    return is_norm(leaf) or is_convolution(leaf)


def is_norm(leaf: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether the leaf is a batch norm that the weighted sum can compute."""
    return type(leaf) is nn.BatchNorm2d and leaf.momentum is not None and not has_hooks(leaf)


def is_convolution(leaf: nn.Module) -> bool:
    """Return whether the leaf is a convolution that can be merged with others."""
    zeros = type(leaf) is nn.Conv2d and leaf.padding_mode == "zeros" and not isinstance(leaf.padding, str)
    return zeros and not has_hooks(leaf)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a forward or backward hook is registered on the module."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks)


class _Convolutions:
    """Convolutions of the same settings as one: of the same tensor, or each of its part of it (`side_by_side`)."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], *, side_by_side: bool) -> None:
        self.convolutions, self.side_by_side = tuple(convolutions), side_by_side

    def __call__(self, x: Tensor) -> Tensor:
        first, count = self.convolutions[0], len(self.convolutions)
        weight, bias, groups = first.weight, first.bias, first.groups
        if count > 1:
            weight = torch.cat([convolution.weight for convolution in self.convolutions])
            bias = None if bias is None else torch.cat([c.bias for c in self.convolutions if c.bias is not None])
            if not self.side_by_side and groups > 1:
                x = x.repeat(1, count, 1, 1)
            groups *= count if self.side_by_side or groups > 1 else 1
        assert not isinstance(first.padding, str)
        stride, padding, dilation = (pair(value) for value in (first.stride, first.padding, first.dilation))
        return convolve(x, weight, bias, stride, padding, dilation, groups)


class Norms:
    """Batch norms that are not the last leaves of their candidates, each of its part of the tensor."""

    def __init__(self, norms: Sequence[nn.BatchNorm2d]) -> None:
        self.norms = tuple(norms)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x`, (B, norms * C, H, W), normalised."""
        count = len(self.norms)
        parts = tuple(range(count))
        term = Term(x, count, parts, parts, normalisation(self.norms, x))
        return weighted_sums([term], x.new_ones(count), [None] * count, joined=True)[0]


def normalisation(norms: Sequence[nn.BatchNorm2d], z: Tensor, *, update: bool = True) -> Normalisation:
    """Return the normalisation of `z`, (B, parts * C, H, W), by one batch norm per part.

    In training mode the running statistics, where they are tracked, are to be updated, unless `update` is False. Raises
    ValueError, as PyTorch does, if batch statistics are needed of a single value per channel.
    """
    first = norms[0]
    scales, shifts, means, variances = (
        None if getattr(first, name) is None else tuple(getattr(norm, name) for norm in norms)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    running = None if means is None or variances is None else (means, variances)
    batch_statistics = first.training or running is None
    if batch_statistics and not (update and first.track_running_stats):
        running = None
    updated = batch_statistics and running is not None
    batches = tuple(norm.get_buffer("num_batches_tracked") for norm in norms) if updated else None
    if batch_statistics and z.numel() == z.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {z.shape}")
    assert first.momentum is not None
    return Normalisation(batch_statistics, first.eps, first.momentum, running, scales, shifts, batches)
