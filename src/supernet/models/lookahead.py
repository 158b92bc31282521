"""Lookahead: the loss after a few real steps of the weights, which are then undone.

ZARTS (Wang et al., NeurIPS 2022, arXiv 2110.04743) rates an architecture by this loss, in place of DARTS' one-step
approximation:

    EVAL(mix):   w = W0
                 M times: w <- an SGD step on the gradient of L(w, mix; b_m), clipped
                 return L(w, mix; B_va)          batch norm in training mode, no gradient

All mixes see the same batches and start from the same random state (common random numbers). The steps are taken on a
second supernet: the weights, running statistics, momentum and gradients of the real one stay as they are, and so does
the caller's random state.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, momentum_of
from supernet.engine.precision import products
from supernet.engine.processes import spread
from supernet.engine.seeds import seeded
from supernet.engine.workers import SharedTensors, WorkerPool, devices_of
from supernet.errors import UserError
from supernet.models.evaluate import LossOf, Scores, loss_and_accuracy
from supernet.models.lookahead_supernet import LookaheadSupernet, LookaheadTask, values_of
from supernet.models.mix import Mix, detached
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.spaces.modules import Norm
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize

Momentum = Literal["fresh", "copied"]
_OPTIONS = ("engine", "precision", "checkpointing", "fixed_edges")  # of a supernet that may change during a search


class Lookahead:
    """Lookahead of a supernet whose weights take steps of SGD by `weights`, spread over `workers` processes.

    L is the cross-entropy, or `loss_of`. The processes run on `device`, where a GPU without a number is all GPUs in
    turn; None is where the supernet lies. Raises UserError for `loss_of` with several workers, where it cannot be sent.
    """

    def __init__(
        self,
        supernet: Supernet,
        weights: SGDConfig,
        workers: int = 1,
        loss_of: LossOf | None = None,
        device: torch.device | None = None,
    ) -> None:
        if loss_of is not None and workers > 1:
            raise UserError(
                "workers cannot share the lookahead of a method with a loss of its own: leave --workers at 1"
            )
        self.supernet, self.weights, self.workers, self.loss_of = supernet, weights, workers, loss_of
        self._like = next(supernet.parameters())
        self.device = device or self._like.device

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
        """Return for each of K mixes the loss (K,) on `valid` after one step on each of the `inner` batches.

        The steps use the learning rate of `optimizer` and its momentum buffers ("copied") or none ("fresh"). Operations
        draw from `seed`. Without inner batches, all mixes run in one batched evaluation (`Supernet.batched`), and
        operations that draw at random draw once for each mix.

        Raises UserError if there are several workers and the space cannot be sent to another process.
        """
        return self._losses_and_accuracies(optimizer, mixes, inner, [valid], seed, momentum)[:, 0]

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
        """Return accuracy and loss of each mix over all images of `validation`; otherwise as `losses`."""
        both = self._losses_and_accuracies(optimizer, mixes, inner, validation, seed, momentum)
        return Scores(both[:, 1].tolist(), both[:, 0].tolist())

    def _losses_and_accuracies(
        self,
        optimizer: torch.optim.SGD,
        mixes: Sequence[Mix],
        inner: Sequence[Batch],
        validation: Sequence[Batch],
        seed: int,
        momentum: Momentum,
    ) -> Tensor:
        def compute(own: Sequence[Mix]) -> Tensor:
            return self._computed(optimizer, own, inner, validation, seed, momentum)

        return spread(mixes, compute).to(self._like.device)

    def _computed(
        self,
        optimizer: torch.optim.SGD,
        mixes: Sequence[Mix],
        inner: Sequence[Batch],
        validation: Sequence[Batch],
        seed: int,
        momentum: Momentum,
    ) -> Tensor:
        mixes, weights = [detached(mix) for mix in mixes], self.supernet.parameters()
        if not inner:
            with seeded(seed, self._like.device):
                return loss_and_accuracy(lambda x: self.supernet.batched(x, mixes), validation, self.loss_of)
        has_momentum = [momentum == "copied" and momentum_of(optimizer, weight) is not None for weight in weights]
        options = {name: getattr(self.supernet, name) for name in _OPTIONS}
        lr = optimizer.param_groups[0]["lr"]
        task = LookaheadTask(mixes, inner, validation, lr, has_momentum, seed, options)
        start = values_of(self.supernet, optimizer if any(has_momentum) else None)
        return self._lookahead_supernet.scores(start, task) if self.workers == 1 else self._spread(start, task)

    def _spread(self, start: Sequence[Tensor], task: LookaheadTask) -> Tensor:
        for shared, value in zip(_start_in(self._shared, task), start, strict=True):
            shared.copy_(value)
        task = task.to(torch.device("cpu"), copy=True)  # a copy, since a pickled view takes its whole storage along
        count = min(self.workers, len(task.mixes))
        parts = self._pool([replace(task, mixes=task.mixes[number::count]) for number in range(count)])
        scores = torch.empty(len(task.mixes), 2, dtype=torch.float64)
        for number, part in enumerate(parts):
            scores[number::count] = part
        return scores.to(self._like.device)

    @cached_property
    def _lookahead_supernet(self) -> LookaheadSupernet:
        kind = self._like.dtype, self._like.device
        return LookaheadSupernet(self.supernet.another, self.weights, *kind, self.loss_of)

    @cached_property
    def _pool(self) -> WorkerPool:
        supernet = self.supernet
        kind = type(supernet), _picklable(supernet.space), supernet.network_size, supernet.norm, supernet.options
        make = partial(_Worker, self._shared, partial(_made, *kind), self.weights, self._like.dtype)
        return WorkerPool(make, devices_of(self.device, self.workers))

    @cached_property
    def _shared(self) -> SharedTensors:
        return SharedTensors([*values_of(self.supernet), *self.supernet.parameters()])


class _Worker:
    """The work of one process: lookahead on a supernet of its own, from weights that lie in shared memory."""

    def __init__(
        self,
        shared: SharedTensors,
        make: Callable[[], Supernet],
        config: SGDConfig,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.shared, self.supernet = shared, LookaheadSupernet(make, config, dtype, device)

    def __call__(self, task: LookaheadTask) -> Tensor:
        with products(task.options["precision"]):
            return self.supernet.scores(_start_in(self.shared, task), task.to(self.supernet.device)).cpu()


def _made(
    kind: type[Supernet], space: Mapping[str, Any], size: NetworkSize, norm: Norm, options: CellOptions
) -> Supernet:
    """Return a new supernet of a kind; `space` are the fields of its space."""
    return kind(SearchSpace(**space), size, norm, options)


def _start_in(shared: SharedTensors, task: LookaheadTask) -> list[Tensor]:
    """Return the shared tensors from which lookahead starts: weights, buffers, and the momentum buffers there are."""
    fixed = len(shared.tensors) - len(task.has_momentum)
    momenta = zip(shared.tensors[fixed:], task.has_momentum, strict=True)
    return [*shared.tensors[:fixed], *(momentum for momentum, present in momenta if present)]


def _picklable(space: SearchSpace) -> dict[str, Any]:
    """Return the fields of a space, without its cached properties; raises UserError if they cannot be pickled."""
    values = {field.name: getattr(space, field.name) for field in fields(space)}
    try:
        pickle.dumps(values)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        advice = "define the function or class that builds its operations at the top level of a module"
        raise UserError(f"space '{space.name}' cannot be sent to worker processes: {error}; {advice}") from None
    return values
