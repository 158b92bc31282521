"""Gradient search of the architecture: single-level (Single-DARTS) and bi-level (DARTS, first and second order).

Papers: DARTS — Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055. Single-DARTS — Hou, Jin & Chen, 2021, arXiv
2108.08128 (the same idea in Hou & Jin, arXiv 2012.11337).

    node j = sum_{i<j} sum_k p_k o_k(node i),   p = softmax(alpha) or sigmoid(alpha)
    bi-level:      alpha <- alpha - eta_a dL(w, alpha; B2)/dalpha,   then   w <- w - eta_w dL(w, alpha; B1)/dw
    second order:  the alpha gradient is taken at w' = w - xi dL(w, alpha; B1)/dw (see `unrolled.py`)
    single-level:  (w, alpha) <- (w, alpha) - (eta_w d/dw, eta_a d/dalpha) L(w, alpha; B1)   one forward, one backward

The regime says where B2 comes from, which is the only difference between the two papers (Single-DARTS, Table 4):
`same_batch` is single-level, `different_subset` is DARTS, and `same_subset` is the ablation between them. The
single-level update is simultaneous: both gradients come from the same forward pass.

Deliberate differences from released code. DARTS draws its second batch by starting a new shuffled pass at every step;
here each stream is one endless sequence of shuffled passes. The extra forward passes of second order leave the running
statistics of batch normalisation unchanged, draw the same noise and dropout on the weights' batch, so that their finite
difference is of one function, and the weights are never perturbed in place. No code of Single-DARTS was available: the
alphas are neither clipped nor decayed, and their learning rate is the default of `AlphaOptimizerConfig` unless the
protocol sets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.engine.seeds import seeded
from supernet.errors import UserError
from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget, Part, Streams
from supernet.methods.gradient_method import GradientMethod
from supernet.methods.relaxation import Activation, SigmoidInit
from supernet.methods.unrolled import unrolled_gradient
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.settings import settings
from supernet.spaces.modules import Noise


@settings
class DifferentiableConfig:
    """Settings of a search by gradient."""

    regime: Literal["same_batch", "same_subset", "different_subset"] = "same_batch"
    """batch that alpha learns from: the weights' own, another from the same images, or one of validation images"""
    activation: Activation = "sigmoid"
    """function from alpha to op weights"""
    sigmoid_init: SigmoidInit = "inv_n"
    """first op weight under sigmoid: 1/n (inv_n) or 1/2 (zero)"""
    order: Literal[1, 2] = 1
    """2 takes the gradient of alpha through one step of the weights"""
    first: Literal["alpha", "weights"] = "alpha"
    """what learns first in a step with two batches; NAS-Bench-201's DARTS begins with the weights"""
    train_on: Literal["half", "full"] = "half"
    """images that train the weights: the training half, or all (not with different_subset)"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig()


class Differentiable(GradientMethod):
    """Learns alphas by gradient.

    Raises UserError for order 2 or weights first with regime same_batch, and for train_on full with regime
    different_subset.
    """

    Config = DifferentiableConfig
    capturable = True
    config: DifferentiableConfig

    def __init__(self, config: DifferentiableConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        if config.order == 2 and config.regime == "same_batch":
            raise UserError("order 2 needs a second batch for alpha: set the regime to different_subset or same_subset")
        if config.first == "weights" and config.regime == "same_batch":
            raise UserError("alpha and the weights learn at once with regime same_batch: neither is first")
        if config.train_on == "full" and config.regime == "different_subset":
            raise UserError(
                "regime different_subset keeps half of the images for alpha: it does not go with train-on full"
            )

    def begin(self) -> LearnedAlphas:
        """Return the initial alphas."""
        config, space = self.config, self.supernet.space
        return LearnedAlphas(space, config.activation, config.sigmoid_init, self.budget, self.weights[0], config.alpha)

    @classmethod
    def holds_out(cls, config: DifferentiableConfig) -> bool:
        """Return False if the weights learn from all images."""
        return config.train_on != "full"

    @property
    def streams(self) -> Streams:
        """One stream if single-level; otherwise one for the weights and one for alpha."""
        part: Part = "all" if self.config.train_on == "full" else "train"
        match self.config.regime:
            case "same_batch":
                return {"weights": part}
            case "same_subset":
                return {"weights": part, "alpha": part}
            case "different_subset":
                return {"weights": part, "alpha": "validation"}

    def mix(self) -> Mix:
        """Return the op weights of the current alphas, with gradient."""
        return self.alphas.mix()

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update alpha and the weights: from one backward pass if single-level, otherwise one after the other."""
        self.alphas.optimizer.zero_grad()
        if self.config.regime == "same_batch":
            metrics = self.weight_step(batches["weights"], self.mix())  # the backward pass fills alpha's gradient, too
            self.alphas.step()
            return metrics
        if self.config.first == "weights":
            metrics = self.train_weights(batches)
            self.alphas.step(self.alpha_gradient(batches["weights"], batches["alpha"]))
            return metrics
        self.alphas.step(self.alpha_gradient(batches["weights"], batches["alpha"]))
        return self.train_weights(batches)

    @property
    def is_random(self) -> bool:
        """Whether a pass draws random numbers, as noise and dropout do; operations of your own otherwise do not."""
        return any(isinstance(part, Noise | _DropoutNd) for part in self.supernet.modules())

    def draws(self) -> Callable[[], AbstractContextManager[None]]:
        """Return the context of every pass on the weights' batch in second order (see `unrolled_gradient`)."""
        return partial(seeded, int(torch.randint(2**62, ())), self.device) if self.is_random else nullcontext

    def alpha_gradient(self, weight_batch: Batch, alpha_batch: Batch) -> tuple[Tensor, ...]:
        """Return the bi-level gradient, one tensor for each of `alphas.parameters`."""
        alphas = self.alphas.parameters
        if self.config.order == 2:
            batches = weight_batch, alpha_batch
            return unrolled_gradient(self.supernet, self.mix, alphas, self.optimizer, *batches, self.loss, self.draws())
        return self.gradient(alpha_batch, self.mix())
