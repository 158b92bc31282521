"""Gradient search of the architecture: single-level (Single-DARTS) and bi-level (DARTS, first and second order).

Papers: DARTS — Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055. Single-DARTS — Hou, Jin & Chen, 2021, arXiv
2108.08128 (the same idea in Hou & Jin, arXiv 2012.11337).

    node j = sum_{i<j} sum_k p_k o_k(node i),   p = softmax(alpha) or sigmoid(alpha)
    bi-level:      alpha <- alpha - eta_a dL(w, alpha; B2)/dalpha,   then   w <- w - eta_w dL(w, alpha; B1)/dw
    second order:  the alpha gradient is taken at w' = w - xi dL(w, alpha; B1)/dw (see `unrolled.py`)
    single-level:  (w, alpha) <- (w, alpha) - (eta_w d/dw, eta_a d/dalpha) L(w, alpha; B1)   one forward, one backward

The regime says where B2 comes from, which is all that separates the two papers (Single-DARTS, Table 4):
`same_batch` is single-level, `different_subset` is DARTS, `same_subset` is the ablation between them. Single-level is a
simultaneous update: both gradients are of the same forward pass.

Differences from released code, each deliberate. DARTS draws its second batch by starting a new shuffled pass for every
step; here each stream is one endless shuffled pass. Second order: its extra forward passes leave the running
statistics of batch norm as they were, and the weights are never perturbed in place. For Single-DARTS no code could be
had; the alphas are not clipped and not decayed, and the learning rates are `AlphaOptimizerConfig`'s defaults, to be set by protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.errors import UserError
from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget, Part
from supernet.methods.gradient_method import GradientMethod
from supernet.methods.relaxation import Activation, SigmoidInit
from supernet.methods.unrolled import unrolled_gradient
from supernet.models.mix import Mix, detached
from supernet.models.supernet import Supernet


@dataclass(frozen=True)
class DifferentiableConfig:
    """Settings of a gradient search."""

    regime: Literal["same_batch", "same_subset", "different_subset"] = "same_batch"
    """batch that alpha learns from: the weights' own, another of the same images, or one of the other half"""
    activation: Activation = "sigmoid"
    """how alpha becomes op weights"""
    sigmoid_init: SigmoidInit = "inv_n"
    """sigmoid starts at weight 1/n (inv_n) or 1/2 (zero)"""
    order: Literal[1, 2] = 1
    """2 takes the alpha gradient through one step of the weights"""
    train_on: Literal["half", "full"] = "half"
    """training images the weights see; the alpha of different_subset always has the other half"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig()


class Differentiable(GradientMethod):
    """Alphas per kind of cell, learned by gradient; `regime`, `activation` and `order` are independent settings."""

    Config = DifferentiableConfig
    capturable = True
    config: DifferentiableConfig

    def __init__(self, config: DifferentiableConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        if config.order == 2 and config.regime == "same_batch":
            raise UserError("order 2 needs a second batch for alpha: set the regime to different_subset or same_subset")
        if config.train_on == "full" and config.regime == "different_subset":
            raise UserError("regime different_subset splits the images in halves: train-on full does not go with it")

    def begin(self) -> LearnedAlphas:
        """Return the alphas that the search starts from."""
        config, space = self.config, self.supernet.space
        return LearnedAlphas(space, config.activation, config.sigmoid_init, self.budget, self.weights[0], config.alpha)

    @property
    def streams(self) -> Mapping[str, Part]:
        """One stream if single-level; otherwise one for the weights and one for alpha."""
        first: Part = "all" if self.config.train_on == "full" else "train"
        match self.config.regime:
            case "same_batch":
                return {"weights": first}
            case "same_subset":
                return {"weights": first, "alpha": first}
            case "different_subset":
                return {"weights": first, "alpha": "validation"}

    def mix(self) -> Mix:
        """Return the op weights of the current alphas, with their gradient."""
        return self.alphas.mix()

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Single-level: both updates from one backward pass. Otherwise alpha first, then the weights, as DARTS does."""
        self.alphas.optimizer.zero_grad()
        if self.config.regime == "same_batch":
            metrics = self.weight_step(batches["weights"], self.mix())  # its backward pass fills alpha's gradient too
            self.alphas.optimizer.step()
            return metrics
        self.alphas.step(self.alpha_gradient(batches["weights"], batches["alpha"]))
        return self.weight_step(batches["weights"], detached(self.mix()))

    def alpha_gradient(self, weight_batch: Batch, alpha_batch: Batch) -> tuple[Tensor, ...]:
        """Return the gradient of the alphas of a bi-level step, in the order of `alphas`."""
        alphas = list(self.alphas.values())
        if self.config.order == 2:
            return unrolled_gradient(self.supernet, self.mix, alphas, self.optimizer, weight_batch, alpha_batch)
        return self.gradient(alpha_batch, self.mix())
