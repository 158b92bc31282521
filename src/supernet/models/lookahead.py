"""Lookahead: what the loss would be after a few real steps of the weights from where they are; the weights stay there.

ZARTS (Wang et al., NeurIPS 2022, arXiv 2110.04743) tells by them how good an architecture is, in place of the one-step
approximation of DARTS:

    EVAL(mix):   w = W0
                 M times: w <- an SGD step on the gradient of L(w, mix; b_m), clipped
                 return L(w, mix; B_va)          batch norm in training mode, no gradient

The batches are the same for every mix, and each trial begins from the same random state (common random numbers). All of
it happens on a scratch supernet: of the real one neither weights nor running statistics, momentum or gradients change,
and the random state is what it was.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, momentum_of
from supernet.engine.precision import products
from supernet.engine.seeds import seeded
from supernet.engine.workers import SharedTensors, WorkerPool, devices_of
from supernet.errors import UserError
from supernet.models.evaluate import Scores, loss_and_accuracy
from supernet.models.lookahead_supernet import LookaheadSupernet, LookaheadTask, values_of
from supernet.models.mix import Mix, detached
from supernet.models.supernet import Supernet
from supernet.spaces.modules import Norm
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

Momentum = Literal["fresh", "copied"]
_Rest = tuple[NetworkSize, Norm, SGDConfig, torch.dtype]
_MADE_OF = {
    "space",
    "network_size",
    "norm",
    "kinds",
    "training",
}  # attributes of a supernet that say nothing of how it is run


class Lookahead:
    """Lookahead of a supernet, whose weights are stepped as `weights` says, spread over `workers` processes."""

    def __init__(self, supernet: Supernet, weights: SGDConfig, workers: int = 1) -> None:
        self.supernet, self.weights, self.workers = supernet, weights, workers
        self._like = next(supernet.parameters())

    def losses(
        self,
        optimizer: torch.optim.SGD,
        mixes: Sequence[Mix],
        inner: Sequence[Batch],
        valid: Batch,
        *,
        seed: int,
        momentum: Momentum = "fresh",
    ) -> Tensor:
        """Return for each of K mixes the loss (K,) on `valid` after a step on each of the `inner` batches.

        The steps have the learning rate of `optimizer`, and its momentum so far ("copied") or none ("fresh"). `seed`
        is what operations draw from. Without inner batches all mixes are run together, once (`Supernet.batched`):
        operations that draw at random then draw for each of them.

        Raises UserError if there are several workers and the space cannot be sent to another process.
        """
        return self._tried(optimizer, mixes, inner, [valid], seed, momentum)[:, 0]

    def scores(
        self,
        optimizer: torch.optim.SGD,
        mixes: Sequence[Mix],
        inner: Sequence[Batch],
        validation: Sequence[Batch],
        *,
        seed: int,
        momentum: Momentum = "fresh",
    ) -> Scores:
        """Return accuracy and loss of each mix over all images of `validation`, otherwise as `losses`."""
        loss, accuracy = self._tried(optimizer, mixes, inner, validation, seed, momentum).unbind(1)
        return Scores(accuracy.tolist(), loss.tolist())

    def _tried(
        self,
        optimizer: torch.optim.SGD,
        mixes: Sequence[Mix],
        inner: Sequence[Batch],
        batches: Sequence[Batch],
        seed: int,
        momentum: Momentum,
    ) -> Tensor:
        mixes, weights = [detached(mix) for mix in mixes], self.supernet.parameters()
        if not inner:
            with seeded(seed, self._like.device):
                return loss_and_accuracy(lambda x: self.supernet.batched(x, mixes), batches)
        begun = [momentum == "copied" and momentum_of(optimizer, weight) is not None for weight in weights]
        task = LookaheadTask(mixes, inner, batches, optimizer.param_groups[0]["lr"], begun, seed, _how(self.supernet))
        start = values_of(self.supernet, optimizer if any(begun) else None)
        return self._scratch.scores(start, task) if self.workers == 1 else self._spread(start, task)

    def _spread(self, start: Sequence[Tensor], task: LookaheadTask) -> Tensor:
        for place, value in zip(_start_on(self._shelf, task), start, strict=True):
            place.copy_(value)
        task = task.to(torch.device("cpu"), copy=True)  # a part of a batch would take all of it along
        count = min(self.workers, len(task.mixes))
        parts = self._crew([replace(task, mixes=task.mixes[number::count]) for number in range(count)])
        found = torch.empty(len(task.mixes), 2, dtype=torch.float64)
        for number, own in enumerate(parts):
            found[number::count] = own
        return found.to(self._like.device)

    @cached_property
    def _scratch(self) -> LookaheadSupernet:
        return LookaheadSupernet(self.supernet.space, *self._rest, self._like.device)

    @cached_property
    def _crew(self) -> WorkerPool:
        parts = _sendable(self.supernet.space)
        return WorkerPool(partial(_Worker, self._shelf, parts, self._rest), devices_of(self._like.device, self.workers))

    @cached_property
    def _shelf(self) -> SharedTensors:
        return SharedTensors([*values_of(self.supernet), *self.supernet.parameters()])

    @property
    def _rest(self) -> _Rest:
        return self.supernet.network_size, self.supernet.norm, self.weights, self._like.dtype


class _Worker:
    """What a process of the crew has: a scratch supernet, and the shelf that says where trials begin."""

    def __init__(self, shelf: SharedTensors, parts: Mapping[str, Any], rest: _Rest, device: torch.device) -> None:
        self.shelf, self.scratch = shelf, LookaheadSupernet(SearchSpace(**parts), *rest, device)

    def __call__(self, task: LookaheadTask) -> Tensor:
        with products(task.how["precision"]):
            return self.scratch.scores(_start_on(self.shelf, task), task.to(self.scratch.device)).cpu()


def _how(supernet: Supernet) -> dict[str, Any]:
    """Return the attributes that say how a supernet is run: all plain ones but those that it is made of."""
    plain = {name: value for name, value in vars(supernet).items() if not name.startswith("_") and name not in _MADE_OF}
    return {"engine": supernet.engine, "precision": supernet.precision} | plain


def _start_on(shelf: SharedTensors, task: LookaheadTask) -> list[Tensor]:
    """Return where on the shelf weights, buffers and the momentum that has begun lie."""
    always = len(shelf.tensors) - len(task.begun)
    momenta = zip(shelf.tensors[always:], task.begun, strict=True)
    return [*shelf.tensors[:always], *(momentum for momentum, begun in momenta if begun)]


def _sendable(space: SearchSpace) -> dict[str, Any]:
    """Return what a space is made of, without what it keeps for itself; raises UserError if it cannot be pickled."""
    parts = {entry.name: getattr(space, entry.name) for entry in fields(space)}
    try:
        pickle.dumps(parts)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        advice = "what builds its operations must stand at the top level of a module"
        raise UserError(f"space '{space.name}' cannot be sent to worker processes: {error}; {advice}") from None
    return parts
