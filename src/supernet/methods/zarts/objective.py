"""The landscape that a zero-order method walks in: what is to be made small, as a function of where alpha is.

A step u (D,) is one vector of all alphas that mean something, kind of cell after kind of cell, in float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.seeds import seeded
from supernet.methods.alphas import Alphas
from supernet.methods.zarts.penalty import Penalty
from supernet.models.lookahead import Lookahead, Momentum
from supernet.models.supernet import traceless


class CandidateBatches(NamedTuple):
    """What all candidates of an update see: the batch they are judged on, those of the M steps, and random numbers."""

    valid: Batch
    inner: Sequence[Batch]
    seed: int


class Objective:
    """The loss after M steps of the weights, and a penalty, about the point `alphas`.

    `passes`: batches that have gone through the supernet, forward and backward or forward alone.
    """

    def __init__(
        self, alphas: Alphas, trials: Lookahead, penalty: Penalty, optimizer: torch.optim.SGD, momentum: Momentum
    ) -> None:
        self.alphas, self.trials, self.penalty = alphas, trials, penalty
        self.optimizer, self.momentum = optimizer, momentum
        self.passes = {"forward_backward": 0, "forward": 0}

    def objectives(self, steps: Tensor, seen: CandidateBatches) -> Tensor:
        """Return what is to be made small (K,) after each of the steps (K, D) from where alpha is."""
        mixes = [self.alphas.mix(self.alphas.after(step)) for step in steps]
        losses = self.trials.losses(
            self.optimizer, mixes, seen.inner, seen.valid, seed=seen.seed, momentum=self.momentum
        )
        self.passes["forward_backward"] += len(mixes) * len(seen.inner)
        self.passes["forward"] += len(mixes)
        return losses.double().cpu() + torch.tensor([self.penalty(mix) for mix in mixes], dtype=torch.float64)

    def compared(self, steps: Tensor, seen: CandidateBatches, *, base_steps: bool) -> tuple[Tensor, Tensor]:
        """Return the objective where alpha is, after the M steps or after none, and those after `steps`."""
        stay = torch.zeros_like(steps[:1])
        if base_steps:
            found = self.objectives(torch.cat([stay, steps]), seen)
            return found[0], found[1:]
        return self.objectives(stay, seen._replace(inner=[]))[0], self.objectives(steps, seen)

    def gradient(self, seen: CandidateBatches) -> Tensor:
        """Return the first-order gradient (D,) of the loss alone, with the weights as they are."""
        values = {kind: alpha.detach().requires_grad_() for kind, alpha in self.alphas.items()}
        supernet = self.trials.supernet
        with seeded(seen.seed, seen.valid.x.device):
            loss = F.cross_entropy(traceless(supernet, seen.valid.x, self.alphas.mix(values)), seen.valid.y)
        found = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)  # of a cell of none alone
        self.passes["forward_backward"] += 1
        return self.alphas.flat(dict(zip(values, found, strict=True)))

    def move(self, step: Tensor) -> None:
        """Let alpha take a step (D,)."""
        for kind, moved in self.alphas.after(step).items():
            self.alphas[kind].copy_(moved)
