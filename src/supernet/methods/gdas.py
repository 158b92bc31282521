"""GDAS: one operation per edge is drawn by Gumbel noise, and every alpha has a gradient through the draw.

Dong & Yang, CVPR 2019, arXiv 1910.04465, as in NAS-Bench-201 (ICLR 2020). Per edge, with g from Gumbel(0, 1):

    P = softmax((log_softmax(alpha) + g) / tau),   i = argmax P,   h = onehot(i) - stopgradient(P) + P
    out = h_i o_i(x) + sum_{k != i} h_k

Only o_i runs. The other h_k are zeros, added to every output element so that their alphas have a gradient. tau falls
linearly over the epochs. Each step trains the weights on a drawn architecture and a batch of training images, and then
alpha on another drawn architecture and a batch of validation images.

Difference from released code: the step of the weights leaves out the additions of 0 and the factor 1, which changes no
value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.errors import UserError
from supernet.methods.base import Budget, Streams
from supernet.methods.gradient_method import GradientMethod
from supernet.models.mix import EdgeMix, Mix, sparse
from supernet.models.supernet import Supernet
from supernet.settings import settings


@settings
class GDASConfig:
    """Settings of GDAS."""

    tau: float = 10.0
    """temperature of the first epoch"""
    tau_min: float = 0.1
    """temperature of the last epoch"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-4, 1e-3)

    def __post_init__(self) -> None:
        if not 0 < self.tau_min <= self.tau < math.inf:
            limit = f"({self.tau}), a finite number; got {self.tau_min}"
            raise UserError(f"setting tau-min must be above 0 and at most tau {limit}")


class GDAS(GradientMethod):
    """Learns alphas through hard Gumbel samples, and the weights on such samples."""

    Config = GDASConfig
    fixed_epochs = "its temperature has fallen to that of the last epoch"
    streams: ClassVar[Streams] = {"weights": "train", "alpha": "validation"}
    config: GDASConfig

    def __init__(self, config: GDASConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.tau = config.tau
        self.generator = torch.Generator().manual_seed(budget.seed)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate and the temperature."""
        super().begin_epoch(epoch)
        config, last = self.config, max(1, self.budget.epochs - 1)
        self.tau = config.tau + (config.tau_min - config.tau) * epoch / last

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights and then alpha, each on an architecture of its own draw."""
        metrics = self.train_weights(batches)
        self.alpha_step(batches["alpha"], self.drawn())
        return metrics

    def train_weights(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights of a path that is drawn by alpha."""
        return self.weight_step(batches["weights"], self._path())

    def drawn(self) -> Mix:
        """Draw one operation per edge; return the mix that runs only these, with a gradient to every alpha."""
        return {kind: straight_through(p) for kind, p in self._noisy_probabilities().items()}

    def _path(self) -> Mix:
        """Draw one operation per edge; return the mix that runs only these, without gradient."""
        return self._argmax(self._noisy_probabilities())

    def _argmax(self, values: Mapping[str, Tensor]) -> Mix:
        """Return the mix that runs the operation with the largest of the `values` (edges, columns) on every edge."""
        columns = {kind: value.argmax(-1).tolist() for kind, value in values.items()}
        return sparse(columns, {kind: value.shape[1] for kind, value in values.items()}, self.device)

    def _noisy_probabilities(self) -> dict[str, Tensor]:
        """Draw noise; return P (edges, columns), with gradient, for each kind of cell."""
        return {kind: self._noisy(alpha, self.alphas.masks[kind]) for kind, alpha in self.alphas.items()}

    def _noisy(self, alpha: Tensor, mask: Tensor) -> Tensor:
        log_p = torch.log_softmax(alpha.masked_fill(~mask, -torch.inf), -1)
        while True:  # one exponential in 2**24 is 0, and its noise infinite
            noise = -torch.empty(alpha.shape).exponential_(generator=self.generator).log()
            if torch.isfinite(noise).all():
                return torch.softmax((log_p + noise.to(alpha)) / self.tau, -1)

    def mix(self) -> Mix:
        """Run the most probable operation of every edge."""
        return self._argmax({k: a.masked_fill(~self.alphas.masks[k], -torch.inf) for k, a in self.alphas.items()})

    def op_scores(self) -> dict[str, Tensor]:
        """Return softmax(alpha)."""
        return {kind: edges.weights.detach() for kind, edges in self.alphas.mix().items()}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas and the temperature."""
        return {**super().end_epoch(epoch, valid_accuracy), "tau": self.tau}

    def state_dict(self) -> dict[str, Any]:
        """Add the random state and the temperature."""
        return super().state_dict() | {"draws": self.generator.get_state(), "tau": self.tau}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.tau = state["tau"]
        self.generator.set_state(state["draws"])


def straight_through(p: Tensor) -> EdgeMix:
    """Return the mix that runs each edge's operation of largest p (edges, columns), with a gradient to all of p."""
    chosen = p.argmax(-1)
    one_hot = F.one_hot(chosen, p.shape[1]).to(p.dtype)
    hard = one_hot - p.detach() + p
    return EdgeMix(hard, tuple((k,) for k in chosen.tolist()), shift=(hard * (1 - one_hot)).sum(-1))
