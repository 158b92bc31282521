"""The exponential moving average (EMA) of a network in training, which is measured and used in its place."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return an average of the network's weights and running statistics, in the mode of evaluation.

    Each `update_parameters` multiplies the average by the decay and adds 1 - decay times the network. After n updates
    the decay is at most (1 + n)/(10 + n), as in TensorFlow's, so that a short training forgets its first weights.
    """

    def follow(average: Any, now: Any, updates: Tensor | int) -> None:
        n = int(updates)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(average, now, n)  # type: ignore[no-untyped-call]

    average = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    return average.eval().requires_grad_(False)
