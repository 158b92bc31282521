"""LookaheadSupernet: a supernet like another one, on which steps of the weights are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, clip_gradient, momentum_of, set_rate
from supernet.engine.seeds import random_state_kept, seeded
from supernet.models.evaluate import loss_and_accuracy
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.modules import Norm
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize


@dataclass(frozen=True)
class LookaheadTask:
    """What is tried: for each of the mixes M `inner` batches and those it is `validation` on, and how the supernet is run.

    `begun`: for every weight, whether its momentum is taken along; the others begin without.
    """

    mixes: Sequence[Mix]
    inner: Sequence[Batch]
    validation: Sequence[Batch]
    lr: float
    begun: Sequence[bool]
    seed: int
    how: Mapping[str, Any]

    def to(self, device: torch.device, *, copy: bool = False) -> LookaheadTask:
        """Return it with its tensors on a device, or copies of them."""

        def moved(batches: Sequence[Batch]) -> list[Batch]:
            return [Batch(*(part.to(device, copy=copy) for part in batch)) for batch in batches]

        def mixed(mix: Mix) -> Mix:
            return {k: replace(edges, weights=edges.weights.to(device, copy=copy)) for k, edges in mix.items()}

        mixes = [mixed(mix) for mix in self.mixes]
        return replace(self, mixes=mixes, inner=moved(self.inner), validation=moved(self.validation))


class LookaheadSupernet:
    """A supernet like another one, to try steps on; making it draws no random number of the caller's."""

    def __init__(
        self,
        space: SearchSpace,
        network_size: NetworkSize,
        norm: Norm,
        weights: SGDConfig,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        with random_state_kept():
            supernet = Supernet(space, network_size, norm)
        self.supernet = supernet.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights, self.settings, self.device = list(supernet.parameters()), weights, device

    def scores(self, start: Sequence[Tensor], task: LookaheadTask) -> Tensor:
        """Return loss and accuracy (K, 2) of the task's mixes, each from `start`, which `values_of` has returned."""
        for name, value in task.how.items():
            setattr(self.supernet, name, value)
        return torch.stack([self._score(start, task, mix) for mix in task.mixes])

    def _score(self, start: Sequence[Tensor], task: LookaheadTask, mix: Mix) -> Tensor:
        optimizer = self._begin(start, task)
        with seeded(task.seed, self.device):
            for batch in task.inner:
                optimizer.zero_grad()
                F.cross_entropy(self.supernet(batch.x, mix), batch.y).backward()  # type: ignore[no-untyped-call]
                clip_gradient(self.weights, self.settings.clip)
                optimizer.step()
            return loss_and_accuracy(lambda x: self.supernet(x, mix)[None], task.validation)[0]

    @torch.no_grad()
    def _begin(self, start: Sequence[Tensor], task: LookaheadTask) -> torch.optim.SGD:
        optimizer = self.settings.optimizer(self.weights)
        set_rate(optimizer, task.lr)
        for weight, begun in zip(self.weights, task.begun, strict=True):
            if begun:
                optimizer.state[weight]["momentum_buffer"] = torch.empty_like(weight)
        for mine, theirs in zip(values_of(self.supernet, optimizer), start, strict=True):
            mine.copy_(theirs)
        return optimizer


def values_of(supernet: Supernet, optimizer: torch.optim.SGD | None = None) -> list[Tensor]:
    """Return weights and buffers, and the momentum of the weights that have some: where a trial begins."""
    weights = list(supernet.parameters())
    momenta = [momentum_of(optimizer, weight) for weight in weights] if optimizer else []
    return [*weights, *supernet.buffers(), *(momentum for momentum in momenta if momentum is not None)]
