"""Selector: the base class of every way to read one architecture out of a search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import BEGUN, Within
from supernet.methods.base import Method, NoConfig
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.evaluate import ValidationBatches
from supernet.spaces.genotype import Genotype


class Selector(ABC):
    """Reads an architecture within the limits of a search out of a run of any method, finished or not.

    A subclass must define `genotype`. If `epochs` is not 0, the selector is first driven like a method, on the method's
    streams: `begin_epoch`, `step` and `end_epoch`. It never touches files, the console or the training loop.

    An instance has `config` (of the class `Config`), `method`, `feasible` (the architectures within the limits),
    `validation_batches` (returns the validation images in batches), `seed`, and `history`, the method's op scores after
    each epoch of the search so far, as `Method.op_score_lists` returns them.

    - `Config`: a frozen dataclass with a default for every field, as in `Method`.
    - `quick`: True if `genotype` needs the op scores alone; then a search has the report itself, and makes no folder.
    - `capturable`: True promises that `step` makes no decision in Python code beyond those of the method's step.
    """

    Config: ClassVar[type] = NoConfig
    quick: ClassVar[bool] = False
    capturable: ClassVar[bool] = False
    history: Sequence[Mapping[str, list[list[float]]]] = ()

    def __init__(
        self, config: Any, method: Method, feasible: FeasibleSet, validation_batches: ValidationBatches, seed: int
    ) -> None:
        self.config, self.method, self.feasible = config, method, feasible
        self.validation_batches, self.seed = validation_batches, seed

    @staticmethod  # noqa: B027  most selectors fit any search
    def check(config: Any, *, tracked: bool) -> None:
        """Raise UserError for a config that does not fit the search; `tracked`: whether it keeps running statistics."""

    @staticmethod
    def scored_on(config: Any) -> int | None:
        """Return on how many validation images it scores by the statistics of their batches, None if not on a part."""
        return None

    @property
    def epochs(self) -> int:
        """The number of epochs for which the selection trains the supernet."""
        return 0

    @abstractmethod
    def genotype(self) -> Genotype:
        """Return the architecture, after the epochs."""

    @property
    def remark(self) -> str:
        """What the user should know of this selector on this search, in one line; empty, the default, for nothing."""
        return ""

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027  most selectors have nothing to prepare
        """Prepare epoch number `epoch`, counted from 0."""

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:  # noqa: B027  nor a learning rate to set
        """Set the learning rate in `epoch`; before every step of it if the schedule moves with steps."""

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train on one batch of every stream; return scalar tensors, which are averaged over the epoch."""
        return self.method.step(batches)

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return additions to the epoch's row of metrics, as plain data."""
        return {}

    def report(self) -> Mapping[str, Any]:
        """Return additions to the summary of the selection, as plain data.

        A selector that measures its choice adds `supernet_accuracy`, from 0 to 1, and the number of validation
        `images`; a selection then ends with this accuracy, not with that of the search.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a selection resumes exactly, as tensors, numbers, strings, lists and dicts."""
        return {"method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        self.method.load_state_dict(state["method"])
