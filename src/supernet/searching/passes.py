"""The forward-backward passes of a search: what its training has cost, whatever its method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class Passes:
    """Counts the batches that go through a supernet forward and backward.

    These are its calls that record gradients, within the work that is `counted`. A step has at least one pass, also
    where another network is trained in place of the supernet. With `replayed`, all steps of an epoch have as many
    passes as its first: a recorded step is replayed without a call.
    """

    def __init__(self, supernet: nn.Module, *, replayed: bool = False) -> None:
        self.count = self._calls = self._first = 0
        self._replayed = replayed
        supernet.register_forward_pre_hook(self._note)

    def _note(self, *_: Any) -> None:
        self._calls += torch.is_grad_enabled()

    def begin_epoch(self) -> None:
        """Forget the passes of the first step of the epoch before."""
        self._first = 0

    def step(self, work: Callable[[], T]) -> T:
        """Count the passes of a training step."""
        before = self._calls
        result = work()
        if not (self._replayed and self._first):
            self._first = max(1, self._calls - before)
        self.count += self._first
        return result

    def between(self, work: Callable[[], T]) -> T:
        """Count the passes of work between two epochs."""
        before = self._calls
        result = work()
        self.count += self._calls - before
        return result
