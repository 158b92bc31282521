"""Selector: how one architecture is read out of a supernet and of what a method has learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from supernet.data import Batch
from supernet.spaces.genotype import Genotype

if TYPE_CHECKING:
    from supernet.methods.base import Method
    from supernet.models.cost.best import FeasibleSet
    from supernet.models.evaluate import ValidationBatches


class Selector(ABC):
    """Reads an architecture within the search's limits out of a run, whatever method made it, finished or not.

    A subclass declares its settings (`Config`, a frozen dataclass). One that trains the supernet on its way says for
    how many `epochs`; the loop then drives it as it drives a method, on the streams that the method declares, and what
    `state_dict` returns is all that it needs to go on. It knows no loop, no file and no screen.

    `quick`: names the architecture at once, from what is learned alone, and has nothing to tell of it.

    `capturable`: its step decides nothing on the host but what the method's does, see `Method`.
    """

    Config: ClassVar[type]
    quick: ClassVar[bool] = False
    capturable: ClassVar[bool] = False

    def __init__(
        self, config: Any, method: Method, feasible: FeasibleSet, validation_batches: ValidationBatches, seed: int
    ) -> None:
        self.config, self.method, self.feasible, self.validation_batches, self.seed = (
            config,
            method,
            feasible,
            validation_batches,
            seed,
        )

    @staticmethod  # noqa: B027  most go with any search
    def check(config: Any, *, tracked: bool) -> None:
        """Raise UserError for settings that do not go with a search; `tracked` if it keeps running statistics."""

    @property
    def epochs(self) -> int:
        """Passes over the images that the selection trains the supernet for."""
        return 0

    @abstractmethod
    def genotype(self) -> Genotype:
        """Return the architecture, once the epochs are over."""

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027  most have nothing to prepare
        """Prepare epoch number `epoch`, counted from 0."""

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train on one batch of every stream; return scalar tensors to be averaged over the epoch."""
        return self.method.step(batches)

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return what the epoch's row of metrics should have beside the averages, as plain data."""
        return {}

    def report(self) -> Mapping[str, Any]:
        """Return what the summary of the selection should have beside the architecture, as plain data."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on exactly, as tensors, numbers, strings, lists and dicts."""
        return {"method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.method.load_state_dict(state["method"])
