"""GDAS: one operation per edge, drawn by Gumbel noise, and a gradient to all alphas through it.

Dong & Yang, CVPR 2019, arXiv 1910.04465, as in NAS-Bench-201 (ICLR 2020). Per edge, with g from Gumbel(0, 1):

    P = softmax((log_softmax(alpha) + g) / tau),   i = argmax P,   h = onehot(i) - stopgradient(P) + P
    out = h_i o_i(x) + sum_{k != i} h_k

Only o_i runs; the h_k that are not drawn are zeros that are added everywhere, so that their alphas have a gradient. tau
falls linearly over the epochs. Each step trains the weights on a drawn architecture and a batch of the first half, and
then alpha on another drawn one and a batch of the second half.

Difference from released code: the weights' step leaves out what is worth 0 or 1 in it, which changes no value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.errors import UserError
from supernet.methods.base import Budget, Part, Stream
from supernet.methods.gradient_method import GradientMethod
from supernet.models.mix import EdgeMix, Mix, sparse
from supernet.models.supernet import Supernet


@dataclass(frozen=True)
class GDASConfig:
    """Settings of GDAS."""

    tau: float = 10.0
    """temperature of the first epoch"""
    tau_min: float = 0.1
    """temperature of the last epoch"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-4, 1e-3)

    def __post_init__(self) -> None:
        if not 0 < self.tau_min <= self.tau < math.inf:
            known = f"({self.tau}), a finite number; got {self.tau_min}"
            raise UserError(f"setting tau-min must be above 0 and at most tau {known}")


class GDAS(GradientMethod):
    """Alphas learned through hard Gumbel samples."""

    Config = GDASConfig
    config: GDASConfig

    def __init__(self, config: GDASConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.tau = config.tau
        self.generator = torch.Generator().manual_seed(budget.seed)

    @property
    def streams(self) -> Mapping[str, Part | Stream]:
        """One stream for the weights and one for alpha."""
        return {"weights": "train", "alpha": "validation"}

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate and the temperature."""
        super().begin_epoch(epoch)
        config, last = self.config, max(1, self.budget.epochs - 1)
        self.tau = config.tau + (config.tau_min - config.tau) * epoch / last

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights, then alpha, each on an architecture drawn for it."""
        metrics = self.weight_step(batches["weights"], self._path())
        self.alpha_step(batches["alpha"], self.drawn())
        return metrics

    def drawn(self) -> Mix:
        """Draw an operation per edge; return the mix that runs it alone and has a gradient to every alpha."""
        return {kind: straight_through(p) for kind, p in self._noisy().items()}

    def _path(self) -> Mix:
        """Draw an operation per edge; return the mix that runs it, without a gradient."""
        return self._strongest(self._noisy())

    def _strongest(self, values: Mapping[str, Tensor]) -> Mix:
        """Return the mix that runs on every edge the operation with the largest value, (edges, columns) per kind."""
        columns = {kind: value.argmax(-1).tolist() for kind, value in values.items()}
        return sparse(columns, {kind: value.shape[1] for kind, value in values.items()}, self.device)

    def _noisy(self) -> dict[str, Tensor]:
        """Draw noise, and return per kind of cell the probabilities (edges, columns) with their gradient."""
        return {kind: self._probabilities(alpha, self.alphas.masks[kind]) for kind, alpha in self.alphas.items()}

    def _probabilities(self, alpha: Tensor, mask: Tensor) -> Tensor:
        known = torch.log_softmax(alpha.masked_fill(~mask, -torch.inf), -1)
        while True:  # an exponential of 0 is drawn once in 2**24 times: its noise is infinite
            noise = -torch.empty(alpha.shape).exponential_(generator=self.generator).log()
            if torch.isfinite(noise).all():
                return torch.softmax((known + noise.to(alpha)) / self.tau, -1)

    def mix(self) -> Mix:
        """Run the likeliest operation of every edge."""
        return self._strongest({k: a.masked_fill(~self.alphas.masks[k], -torch.inf) for k, a in self.alphas.items()})

    def op_scores(self) -> dict[str, Tensor]:
        """Return softmax(alpha)."""
        return {kind: edges.weights.detach() for kind, edges in self.alphas.mix().items()}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas and the temperature."""
        return {**super().end_epoch(epoch, valid_accuracy), "tau": self.tau}

    def state_dict(self) -> dict[str, Any]:
        """Add the state of what is drawn, and the temperature."""
        return super().state_dict() | {"draws": self.generator.get_state(), "tau": self.tau}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.tau = state["tau"]
        self.generator.set_state(state["draws"])


def straight_through(p: Tensor) -> EdgeMix:
    """Return the mix that runs the likeliest operation of each edge, p (edges, columns), with the gradient of all."""
    chosen = p.argmax(-1)
    one_hot = F.one_hot(chosen, p.shape[1]).to(p.dtype)
    hard = one_hot - p.detach() + p
    return EdgeMix(hard, tuple((k,) for k in chosen.tolist()), shift=(hard * (1 - one_hot)).sum(-1))
