"""R-DARTS that watches the Hessian: it stops early (ES), or goes back and regularises more (ADA).

Zela et al., ICLR 2020, arXiv 1909.09656. After epochs 0, 2, 4, ... second-order DARTS measures the largest eigenvalue
of the validation loss's Hessian along alpha (`hessian.py`). When the criterion in `eigenvalues.py` sends the search
back from epoch e to e - 12, it returns to the state that it had then, and

    ES:   ends: the architecture is that of epoch e - 12
    ADA:  multiplies the weight decay of the weights by 10, up to 0.03, and goes on; at 0.03 it no longer goes back

Differences from released code. The batch of the Hessian is the same every time (see `hessian_monitor.py`). After a
return of ADA the epochs, and with them the learning rate, go on counting, so that a search has as many epochs as it was
given, and eigenvalues measured after the epoch returned to are forgotten; there all epochs since that one are repeated
at their own learning rates, and no eigenvalue is forgotten. It also measures, but does not judge, the last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.methods.eigenvalues import FIRST, rollback
from supernet.methods.hessian import eigenvalue
from supernet.models.supernet import Supernet
from supernet.settings import Real, settings

_EVERY = 2  # epochs between two measurements


class _Returning(Differentiable):
    """Learns alphas as DARTS does, and goes back when the eigenvalue has grown; `kept` snapshots reach that far back.

    It counts the epochs of its own, without those that were undone: the criterion and the snapshots' names refer to it.
    """

    between_epochs = "the Hessian along alpha, in every second epoch"
    kept: ClassVar[int]
    note: str
    """what a return means, for the user"""
    goes_back = True

    def __init__(self, config: DifferentiableConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.eigenvalues: list[float] = []
        self.undone = 0

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Measure if due, and report the eigenvalue; keep this state, or go back to an earlier one."""
        row, own = dict(super().end_epoch(epoch, valid_accuracy)), epoch - self.undone
        if own % _EVERY:
            return row
        self.eigenvalues.append(eigenvalue(self))
        self._keep(own)
        back = rollback(self.eigenvalues, _EVERY)
        if back is not None and self.goes_back:
            names = self.budget.snapshots.epochs  # without the oldest ones after several returns
            self.budget.snapshots.restore(str(min(number for number in map(int, names) if number >= back)), self.note)
        return row | {"eigenvalue": self.eigenvalues[-1]}

    def _keep(self, own: int) -> None:
        """Take a snapshot if the search may go back to this epoch; forget the oldest, and those that were undone."""
        snapshots = self.budget.snapshots
        for number in map(int, list(snapshots.epochs)):
            if not own - _EVERY * self.kept < number < own:
                snapshots.drop(str(number))
        if own >= FIRST:
            snapshots.keep(str(own))

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back, and count the epochs that this undoes."""
        super().roll_back(state, epoch)
        self.undone += self.budget.snapshots.now - epoch

    def state_dict(self) -> dict[str, Any]:
        """Add the eigenvalues and the number of epochs undone."""
        return super().state_dict() | {"eigenvalues": list(self.eigenvalues), "undone": self.undone}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.eigenvalues, self.undone = list(state["eigenvalues"]), state["undone"]


class RobustES(_Returning):
    """Learns alphas as DARTS does, and ends with those of an earlier epoch if the eigenvalue has grown since."""

    capturable = True
    kept = 7
    note = "since when the eigenvalue has grown"

    @property
    def finished(self) -> str:
        """That the eigenvalue has grown, and since when; empty while it has not."""
        epoch = _EVERY * (len(self.eigenvalues) - 1) + 1
        return f"the largest eigenvalue along alpha has grown; the result is epoch {epoch}'s" if self.undone else ""

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back for the last time: no snapshot is needed any more."""
        super().roll_back(state, epoch)
        for name in list(self.budget.snapshots.epochs):
            self.budget.snapshots.drop(name)


@settings
class RobustADAConfig(DifferentiableConfig):
    """Settings of R-DARTS that regularises more after each return."""

    decay_step: Annotated[float, Field(gt=1)] = 10.0
    """times the weight decay of the weights after each return"""
    decay_max: Real = 0.03
    """largest weight decay of the weights"""


class RobustADA(_Returning):
    """Learns alphas as DARTS does; goes back and regularises the weights more if the eigenvalue has grown.

    Raises UserError if the weight decay cannot grow.
    """

    Config = RobustADAConfig
    capturable = True
    kept = 12  # two returns by at most 12 epochs
    config: RobustADAConfig

    def __init__(self, config: RobustADAConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        if not (0 < self.decay < config.decay_max and self.goes_back):
            limit = f"above 0 and below decay-max ({config.decay_max:g})"
            raise UserError(f"setting w.weight-decay must be {limit}, to grow after each return, not {self.decay:g}")

    @property
    def decay(self) -> float:
        """The weight decay of the weights now."""
        return float(self.optimizer.param_groups[0]["weight_decay"])

    @property
    def next_decay(self) -> float:
        """The weight decay of the weights after the next return."""
        return min(self.config.decay_step * self.decay, self.config.decay_max)

    @property
    def goes_back(self) -> bool:  # type: ignore[override]
        """Whether the weight decay can grow; it may reach its largest but for rounding."""
        return not math.isclose(self.decay, self.config.decay_max)

    @property
    def note(self) -> str:  # type: ignore[override]
        """The weight decay from then on."""
        return f"weight decay {self.next_decay:g}"

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the weight decay, too."""
        return {**super().end_epoch(epoch, valid_accuracy), "weight_decay": self.decay}

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back, and regularise more."""
        decay = self.next_decay
        super().roll_back(state, epoch)
        for group in self.optimizer.param_groups:
            group["weight_decay"] = decay
