"""Monitor: the base class of what watches a method during its search, without any effect on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from supernet.data import Batch
from supernet.methods.base import Method


class Monitor:
    """Measures a method, as often as the interval `every` says; what it counts is up to the subclass.

    A search calls `before` and `after` around every step, and then `end_epoch`.
    """

    interval: ClassVar[int]
    """the interval unless another is given"""

    def __init__(self, method: Method, every: int | None = None) -> None:
        self.method, self.every = method, every or self.interval

    @property
    def period(self) -> int:
        """The number of steps after which its work within them repeats; a forecast times that many steps."""
        return 1

    def before(self, batches: Mapping[str, Batch]) -> None:
        """Receive the batches of the next step."""

    def after(self) -> None:
        """Receive the end of a step."""

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return what was measured in epoch number `epoch`, counted from 0, as plain data."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a run resumes exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
