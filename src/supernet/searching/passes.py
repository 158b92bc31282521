"""The forward-backward passes of a search: what its training has cost, whatever its method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from supernet.models.supernet import Supernet

T = TypeVar("T")


class Passes:
    """Counts the batches that go through supernets forward and backward in the work that it is given.

    `supernets` returns them: a method may go on with another one.

    A step has at least one pass, also where another network is trained in place of the supernet. With `replayed`, all
    steps of an epoch have as many passes as its first: a recorded step is replayed without a call.
    """

    def __init__(self, supernets: Callable[[], Iterable[Supernet]], *, replayed: bool = False) -> None:
        self.count = self._first = 0
        self._supernets, self._replayed = supernets, replayed

    @property
    def _total(self) -> int:
        return sum(supernet.passes for supernet in self._supernets())

    def begin_epoch(self) -> None:
        """Forget the passes of the first step of the epoch before."""
        self._first = 0

    def step(self, work: Callable[[], T]) -> T:
        """Do the work of a training step, and count its passes."""
        before = self._total
        result = work()
        if not (self._replayed and self._first):
            self._first = max(1, self._total - before)
        self.count += self._first
        return result

    def between(self, work: Callable[[], T]) -> T:
        """Do work between two epochs, and count its passes."""
        before = self._total
        result = work()
        self.count += self._total - before
        return result
