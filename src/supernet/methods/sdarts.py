"""SDARTS: the weights are trained on perturbed op weights, so that the supernet is good around alpha, too.

Chen & Hsieh, ICML 2020, arXiv 2002.05283. Each step, first order and bi-level as in DARTS:

    alpha <- alpha - eta_a dL(w, softmax(alpha); B2)/dalpha          B2: a batch of validation images
    w     <- w     - eta_w dL(w, q; B1)/dw                           B1: a batch of training images
    SDARTS-RS:   q = P(p + U(-eps, eps)),   p = softmax(alpha)
    SDARTS-ADV:  q is the last of `ascent` steps  q <- P(q + 2 eps/ascent sign dL(w, q; B1)/dq)  from that of RS

P moves every entry into [p - eps, p + eps] and then into [0, 1], and divides each row by its sum; a row of zeros is
one-hot at the entry that was largest before. The division may lead out of the ball. eps grows linearly over the epochs:
eps(e) = first + (last - first) e/E. The supernet is in evaluation mode during the ascent, and q is p if the loss at q
is not above the loss at p.

Differences from released code. It writes q into the parameters of alpha and restores these afterwards; here alpha is
never written. Its noise is uniform, as here; a later paper (DARTS-PT) calls it Gaussian. The paper's text was not
available: formulas and values follow a description of that code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.engine.processes import averaged
from supernet.engine.seeds import seed_of
from supernet.methods.base import Budget, Streams
from supernet.methods.gradient_method import GradientMethod
from supernet.models.mix import Mix, dense, detached
from supernet.models.supernet import Supernet, traceless
from supernet.settings import Fraction, Whole, settings

_Rows = Mapping[str, Tensor]
"""Op weights (edges, columns) of each kind of cell."""


@settings
class SDARTSConfig:
    """Settings of SDARTS."""

    epsilon_first: Fraction = 0.03
    """largest change of an op weight in the first epoch"""
    epsilon: Fraction = 0.3
    """largest change of an op weight that the epochs lead up to"""
    ascent: Whole = 0
    """steps that raise the loss, which make the change adversarial; 0 leaves it random"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-4, 1e-3)


class SDARTS(GradientMethod):
    """Learns alphas as DARTS does, and the weights on perturbed op weights."""

    Config = SDARTSConfig
    fixed_epochs = "its perturbation has grown to that of the last epoch"
    streams: ClassVar[Streams] = {"weights": "train", "alpha": "validation"}
    config: SDARTSConfig

    def __init__(self, config: SDARTSConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.epsilon = config.epsilon_first
        self.generator = torch.Generator().manual_seed(seed_of(budget.seed, "perturbation"))

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate and the size of the perturbation."""
        super().begin_epoch(epoch)
        first, last = self.config.epsilon_first, self.config.epsilon
        self.epsilon = first + (last - first) * epoch / self.budget.epochs

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update alpha, and then the weights on perturbed op weights."""
        self.alpha_step(batches["alpha"], self.mix())
        return self.train_weights(batches)

    def train_weights(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights on perturbed op weights."""
        batch = batches["weights"]
        return self.weight_step(batch, dense(self.perturbed(batch)))

    def mix(self) -> Mix:
        """Return the op weights of the current alphas, with gradient and without perturbation."""
        return self.alphas.mix()

    def perturbed(self, batch: Batch) -> _Rows:
        """Return perturbed op weights, without gradient; weights, running statistics and alphas do not change."""
        p = {kind: edges.weights for kind, edges in detached(self.mix()).items()}
        noise = {kind: 2 * torch.rand(rows.shape, generator=self.generator).to(rows) - 1 for kind, rows in p.items()}
        start = self._moved(p, noise, self.epsilon, p)
        return self._ascended(batch, p, start) if self.config.ascent else start

    def _ascended(self, batch: Batch, p: _Rows, q: _Rows) -> _Rows:
        """Return the end of the ascent from `q` within the ball around `p`, or `p` if the loss is not larger there."""
        steps = self.config.ascent
        self.supernet.eval()
        try:
            for _ in range(steps):
                at = [rows.requires_grad_() for rows in q.values()]
                slope = averaged(torch.autograd.grad(self._loss(batch, q), at, materialize_grads=True))
                signs = {kind: part.sign() for kind, part in zip(q, slope, strict=True)}
                q = self._moved(q, signs, 2 * self.epsilon / steps, p)
            with torch.no_grad():
                there, here = averaged([self._loss(batch, q), self._loss(batch, p)])
        finally:
            self.supernet.train()
        return {kind: torch.where(there > here, rows, p[kind]) for kind, rows in q.items()}

    def _loss(self, batch: Batch, rows: _Rows) -> Tensor:
        return self.loss(traceless(self.supernet, batch.x, dense(rows)), batch.y)

    @torch.no_grad()
    def _moved(self, q: _Rows, directions: _Rows, length: float, p: _Rows) -> _Rows:
        masks, epsilon = self.alphas.masks, self.epsilon
        return {k: projected(q[k] + length * directions[k], p[k], epsilon, masks[k]) for k in q}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas and the size of the perturbation."""
        return {**super().end_epoch(epoch, valid_accuracy), "epsilon": self.epsilon}

    def state_dict(self) -> dict[str, Any]:
        """Add the random state and the size of the perturbation."""
        return super().state_dict() | {"draws": self.generator.get_state(), "epsilon": self.epsilon}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.epsilon = state["epsilon"]
        self.generator.set_state(state["draws"])


def projected(q: Tensor, p: Tensor, epsilon: float, mask: Tensor) -> Tensor:
    """Return P(q) for op weights `p` (edges, columns): rows that sum to 1, and 0 where `mask` is False."""
    q = torch.minimum(torch.maximum(q, p - epsilon), p + epsilon).masked_fill(~mask, -torch.inf)
    cut = q.clamp(0, 1)
    largest = F.one_hot(q.argmax(-1), q.shape[1]).to(cut)
    cut = torch.where(cut.sum(-1, keepdim=True) > 0, cut, largest)
    return cut / cut.sum(-1, keepdim=True)
