"""LookaheadSupernet: the second supernet on which a lookahead takes its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, clip_gradient, momentum_of, set_rate
from supernet.engine.seeds import random_state_kept, seeded
from supernet.models.evaluate import LossOf, loss_and_accuracy
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet


@dataclass(frozen=True)
class LookaheadTask:
    """Mixes to look ahead with: M steps on the `inner` batches, then the loss on the `validation` batches.

    - `has_momentum`: for every weight, whether its momentum buffer is copied; the others start without one.
    - `options`: attributes of the supernet that say how it runs, such as its engine.
    """

    mixes: Sequence[Mix]
    inner: Sequence[Batch]
    validation: Sequence[Batch]
    lr: float
    has_momentum: Sequence[bool]
    seed: int
    options: Mapping[str, Any]

    def to(self, device: torch.device, *, copy: bool = False) -> LookaheadTask:
        """Return the task with all tensors on a device; with `copy`, they are copied in any case."""

        def moved(batches: Sequence[Batch]) -> list[Batch]:
            return [Batch(*(part.to(device, copy=copy) for part in batch)) for batch in batches]

        def moved_mix(mix: Mix) -> Mix:
            return {kind: edges.to(device, copy=copy) for kind, edges in mix.items()}

        mixes = [moved_mix(mix) for mix in self.mixes]
        return replace(self, mixes=mixes, inner=moved(self.inner), validation=moved(self.validation))


class LookaheadSupernet:
    """A supernet for lookahead; constructing it leaves the caller's random state as it is."""

    def __init__(
        self,
        make: Callable[[], Supernet],
        config: SGDConfig,
        dtype: torch.dtype,
        device: torch.device,
        loss_of: LossOf | None = None,
    ) -> None:
        with random_state_kept():
            supernet = make()
        self.supernet = supernet.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights, self.config, self.device = list(supernet.parameters()), config, device
        self.loss_of = loss_of

    def scores(self, start: Sequence[Tensor], task: LookaheadTask) -> Tensor:
        """Return loss and accuracy (K, 2) of the task's K mixes, each from the state `start`; see `values_of`."""
        for name, value in task.options.items():
            setattr(self.supernet, name, value)
        return torch.stack([self._score(start, task, mix) for mix in task.mixes])

    def _score(self, start: Sequence[Tensor], task: LookaheadTask, mix: Mix) -> Tensor:
        optimizer = self._reset(start, task)
        with seeded(task.seed, self.device):
            for batch in task.inner:
                optimizer.zero_grad()
                (self.loss_of or F.cross_entropy)(self.supernet(batch.x, mix), batch.y).backward()  # type: ignore[no-untyped-call]
                clip_gradient(self.weights, self.config.clip)
                optimizer.step()
            return loss_and_accuracy(lambda x: self.supernet(x, mix)[None], task.validation, self.loss_of)[0]

    @torch.no_grad()
    def _reset(self, start: Sequence[Tensor], task: LookaheadTask) -> torch.optim.SGD:
        """Copy `start` into the supernet, and into a new optimizer."""
        optimizer = self.config.optimizer(self.weights)
        set_rate(optimizer, task.lr)
        for weight, has_momentum in zip(self.weights, task.has_momentum, strict=True):
            if has_momentum:
                optimizer.state[weight]["momentum_buffer"] = torch.empty_like(weight)
        for value, source in zip(values_of(self.supernet, optimizer), start, strict=True):
            value.copy_(source)
        return optimizer


def values_of(supernet: Supernet, optimizer: torch.optim.SGD | None = None) -> list[Tensor]:
    """Return the state from which a lookahead starts: weights, buffers, and the momentum buffers that exist."""
    weights = list(supernet.parameters())
    momenta = [momentum_of(optimizer, weight) for weight in weights] if optimizer else []
    return [*weights, *supernet.buffers(), *(momentum for momentum in momenta if momentum is not None)]
