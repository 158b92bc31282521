"""Batch norm with the statistics of all processes' images in training: as one process has them on the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from supernet.engine.process_group import count
from supernet.engine.processes import stacked
from supernet.errors import UserError


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose batch statistics are those of the equal shares of all processes; within `alone`, its own.

    PyTorch's SyncBatchNorm has no CPU kernels and first derivatives only. One message goes forward and one backward.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by mean and variance over the images of all processes."""
        if count() == 1 or not (self.training or self.running_mean is None):
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
        # Chan's formula for equal shares: E[z^2] - E[z]^2 would lose its digits where the mean is large
        means, variances = stacked(torch.stack([mean, variance])).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        if self.training:
            self._follow(mean, variance, count() * x.numel() // x.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (exact * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Update the running statistics, if there are any, by those of so many values per channel."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * values / (values - 1)).to(self.running_var), share)


def share_norms(network: nn.Module) -> None:
    """Let all batch norms of a network share their statistics, where several processes work together.

    Raises UserError for a batch norm of another class than nn.BatchNorm2d.
    """
    if count() == 1:
        return
    for name, part in network.named_modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm2d  # in place, since cells and optimizers hold the module and its weights
        elif isinstance(part, _BatchNorm):
            raise UserError(f"norm_shared shares nn.BatchNorm2d, and {name} is a {type(part).__name__}: leave it out")
