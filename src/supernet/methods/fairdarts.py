"""FairDARTS: independent op weights that a loss drives to 0 or 1, and a threshold in the place of a winner.

Chu, Zhou, Zhang & Li, *Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search*, ECCV 2020,
arXiv 1911.12126. With p = sigmoid(alpha), first 1/2, and D op weights in all cells together:

    L    = cross-entropy - weight * Z(p)
    l2:    Z = 1/D sum_i (p_i - 1/2)^2,    dL/dalpha_i = g_i p_i (1 - p_i) - weight * 2/D (p_i - 1/2) p_i (1 - p_i)
    l1:    Z = 1/D sum_i |p_i - 1/2|,      dL/dalpha_i = g_i p_i (1 - p_i) - weight * 1/D sign(p_i - 1/2) p_i (1 - p_i)

where g is the gradient of the cross-entropy with respect to p, and sign(0) = 0. Weights and alpha are both trained by
L, bi-level and first order as in DARTS, or single-level. The architecture is read by `supernet.selectors.threshold`.

Deliberate difference from released code: the batches of alpha come from one endless sequence of shuffled passes, as in
`differentiable.py`. As there, the weights step before alpha where both learn from one backward pass.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from supernet.engine.optim import AlphaOptimizerConfig
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.methods.relaxation import SigmoidInit
from supernet.models.supernet import Supernet
from supernet.settings import Real, settings

ZeroOne = Literal["l2", "l1"]


@settings
class FairDARTSConfig(DifferentiableConfig):
    """Settings of FairDARTS: those of a search by gradient with other defaults, and the zero-one loss."""

    regime: Literal["same_batch", "same_subset", "different_subset"] = "different_subset"
    """batch that alpha learns from: the weights' own (single-level), another from the same images, or one of validation
    images"""
    sigmoid_init: SigmoidInit = "zero"
    """first op weight under sigmoid: 1/n (inv_n) or 1/2 (zero)"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-3, 1e-3, beta1=0.9)
    zero_one: ZeroOne = "l2"
    """distance of an op weight from 1/2 that is rewarded: its square (l2) or its size (l1)"""
    zero_one_weight: Real = 10.0
    """factor of the mean distance in the loss"""

    def __post_init__(self) -> None:
        if self.activation == "softmax":
            raise UserError("the zero-one loss is for op weights that do not compete: set the activation to sigmoid")


class FairDARTS(Differentiable):
    """Learns alphas by gradient under sigmoid, with op weights driven to 0 or 1."""

    Config = FairDARTSConfig
    capturable = True
    config: FairDARTSConfig

    def __init__(self, config: FairDARTSConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self._count = sum(self.alphas.sizes)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy less the weighted distance of the op weights from 1/2."""
        return super().loss(logits, y) - self.config.zero_one_weight * self._distance()

    def _distance(self) -> Tensor:
        """Return the mean distance of all op weights from 1/2, with gradient to the alphas."""
        squares = self.config.zero_one == "l2"
        far = [(edges.weights - 0.5) * self.alphas.masks[kind] for kind, edges in self.mix().items()]
        return torch.stack([(d.square() if squares else d.abs()).sum() for d in far]).sum() / self._count
