"""The objective of zero-order search: the loss after lookahead steps of the weights, as a function of alpha.

A step u (D,) of alpha is one vector of float64 on the CPU, in the order of `Alphas.flat`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.process_group import alone
from supernet.engine.processes import averaged
from supernet.engine.seeds import seeded
from supernet.methods.alphas import Alphas
from supernet.models.cost.targets import Targets
from supernet.models.lookahead import Lookahead, Momentum
from supernet.models.mix import Mix
from supernet.models.rank_metrics import spearman
from supernet.models.supernet import traceless


class CandidateBatches(NamedTuple):
    """What all candidates of an update share: M `inner` batches of lookahead steps, a seed, and validation images.

    The gradient is that of the loss on `valid`; candidates are evaluated on `valid` and `more`.
    """

    valid: Batch
    inner: Sequence[Batch]
    seed: int
    more: Sequence[Batch] = ()


def parted(batch: Batch, count: int) -> list[Batch]:
    """Return `count` parts of a batch; images repeat if there are fewer images than parts."""
    images = len(batch.y)
    size = max(1, images // count)
    starts = [number * size % images for number in range(count)]
    return [Batch(*(part[start : start + size] for part in batch)) for start in starts]


class Objective:
    """The loss after M lookahead steps of the weights, plus the penalty of targets, at a step from `alphas`.

    `passes` counts the batches that went through the supernet, forward and backward or forward only.
    """

    def __init__(
        self,
        alphas: Alphas,
        lookahead: Lookahead,
        targets: Targets | None,
        optimizer: torch.optim.SGD,
        momentum: Momentum,
    ) -> None:
        self.alphas, self.lookahead, self.targets = alphas, lookahead, targets
        self.optimizer, self.momentum = optimizer, momentum
        self.passes = {"forward_backward": 0, "forward": 0}
        self.evaluated = torch.empty(0, 0)  # the steps (K, D) whose objective was asked for last

    def values(self, steps: Tensor, batches: CandidateBatches) -> Tensor:
        """Return the objective (K,) after each of the steps (K, D) of alpha; infinity where lookahead diverges."""
        mixes = [self.alphas.mix(self.alphas.after(step)) for step in steps]
        self.evaluated, validation = steps, [batches.valid, *batches.more]
        losses = self.lookahead.scores(
            self.optimizer, mixes, batches.inner, validation, seed=batches.seed, momentum=self.momentum
        ).loss
        trained = len(mixes) * len(batches.inner)
        self.lookahead.supernet.passes += trained
        self.passes["forward_backward"] += trained
        self.passes["forward"] += len(mixes) * len(validation)
        return torch.tensor(losses, dtype=torch.float64).nan_to_num(torch.inf, torch.inf) + self._penalties(mixes)

    def _penalties(self, mixes: Sequence[Mix]) -> Tensor:
        """Return the penalty (K,) of each mix, for the costs that are above their targets now."""
        if self.targets is None:
            return torch.zeros(len(mixes), dtype=torch.float64)
        now = self.alphas.mix()
        return torch.tensor([float(self.targets(mix, now)) for mix in mixes], dtype=torch.float64)

    def order(self, batches: CandidateBatches, validation: Sequence[Batch]) -> float:
        """Return Spearman's rank correlation of the objective on the halves of `validation`, of the steps `evaluated`.

        This only measures, so no pass counts. NaN if the objective of all steps is equal, or of one not finite.
        """
        middle, steps = len(validation) // 2, self.evaluated
        passes, trained = dict(self.passes), self.lookahead.supernet.passes
        halves = [validation[:middle], validation[middle:]]
        found = [self.values(steps, batches._replace(valid=half[0], more=half[1:])).tolist() for half in halves]
        self.passes, self.lookahead.supernet.passes = passes, trained
        return spearman(*found) if all(map(math.isfinite, chain(*found))) else math.nan

    def with_base(self, steps: Tensor, batches: CandidateBatches, *, base_steps: bool) -> tuple[Tensor, Tensor]:
        """Return the objective of the current alphas, with or without lookahead steps, and those (K,) after `steps`."""
        stay = torch.zeros_like(steps[:1])
        if base_steps:
            values = self.values(torch.cat([stay, steps]), batches)
            return values[0], values[1:]
        return self.values(stay, batches._replace(inner=[]))[0], self.values(steps, batches)

    def gradient(self, batches: CandidateBatches) -> Tensor:
        """Return the gradient (D,) of the loss of the current weights, without the penalty."""
        values = {kind: alpha.detach().requires_grad_() for kind, alpha in self.alphas.items()}
        supernet = self.lookahead.supernet
        with alone(), seeded(batches.seed, batches.valid.x.device):  # each process has the whole batch
            logits = traceless(supernet, batches.valid.x, self.alphas.mix(values))
            loss = (self.lookahead.loss_of or F.cross_entropy)(logits, batches.valid.y)
            gradients = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)  # zeros for none
        gradients = averaged(gradients)  # equal but for rounding
        self.passes["forward_backward"] += 1
        return self.alphas.flat(dict(zip(values, gradients, strict=True)))

    def move(self, step: Tensor) -> None:
        """Add the vector `step` (D,) to the alphas."""
        for kind, moved in self.alphas.after(step).items():
            self.alphas[kind].copy_(moved)
