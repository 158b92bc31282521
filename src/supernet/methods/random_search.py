"""Random search: train random architectures, one after the other, and keep the best.

The baseline of Li & Talwalkar (2019, arXiv 1902.07638) and of NAS-Bench-201 (Dong & Yang, 2020, section 4): draw an
architecture uniformly, train it for a short schedule, keep the one with the best validation accuracy. Here the budget
is the number of training passes, so that it compares with any other method at equal `epochs`: each candidate has
`epochs_each` of them. A candidate is trained alone, from newly drawn weights, with its own cosine schedule, on the
first half of the images and judged on the second. Where the search has limits, only architectures within are drawn.

Difference from NAS-Bench-201's own baseline: that one reads 12-epoch accuracies from the table and its budget is
simulated seconds; this one trains, so that it works in any space.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import set_rate
from supernet.errors import UserError
from supernet.methods.base import Budget, Method, Part
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype


@dataclass(frozen=True)
class RandomSearchConfig:
    """Settings of random search."""

    epochs_each: int = 2
    """training passes that each random architecture gets"""


class RandomSearch(Method):
    """Uniformly drawn architectures within the limits, each trained alone for `epochs_each` epochs."""

    Config = RandomSearchConfig
    capturable = True  # a candidate stays for whole epochs
    config: RandomSearchConfig

    def __init__(self, config: RandomSearchConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        if not 1 <= config.epochs_each <= budget.epochs:
            raise UserError(f"epochs-each must be between 1 and epochs ({budget.epochs}), not {config.epochs_each}")
        self.best_accuracy = -1.0
        self.best = self.candidate = self._draw(0)[0]
        self._made = self.candidate, supernet.only(self.candidate)

    @property
    def streams(self) -> Mapping[str, Part]:
        """The first half of the images trains; the second judges."""
        return {"weights": "train"}

    def begin_epoch(self, epoch: int) -> None:
        """Draw a new architecture and new weights when the last one's share is spent."""
        number, own = divmod(epoch, self.config.epochs_each)
        if own == 0:
            self.candidate, seed = self._draw(number)
            self.restart(seed)
        set_rate(self.optimizer, self.budget.weights.rate(own, self.config.epochs_each))

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the candidate."""
        return self.weight_step(batches["weights"], self.mix())

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Keep the candidate if its training is over and it is the best so far."""
        if (epoch + 1) % self.config.epochs_each == 0 and valid_accuracy > self.best_accuracy:
            self.best, self.best_accuracy = self.candidate, valid_accuracy
        return {"candidate": str(self.candidate), "best_accuracy": self.best_accuracy}

    def mix(self) -> Mix:
        """Run the candidate alone."""
        if (
            self._made[0] is not self.candidate
        ):  # made once for each: in a step, tensors from the host would be waited for
            self._made = self.candidate, self.supernet.only(self.candidate)
        return self._made[1]

    def op_scores(self) -> dict[str, Tensor]:
        """Return the best architecture so far, one-hot."""
        return {kind: edges.weights for kind, edges in self.supernet.only(self.best).items()}

    def _draw(self, number: int) -> tuple[Genotype, int]:
        """Return candidate `number` and the seed of its weights: the same ones however often a run is resumed."""
        rng = random.Random(f"{self.budget.seed} {number}")
        return self.sample(rng), rng.getrandbits(32)

    def state_dict(self) -> dict[str, Any]:
        """Add the candidate and the best so far."""
        found = {"candidate": str(self.candidate), "best": str(self.best), "best_accuracy": self.best_accuracy}
        return super().state_dict() | found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.candidate = self.supernet.space.parse(state["candidate"])
        self.best = self.supernet.space.parse(state["best"])
        self.best_accuracy = state["best_accuracy"]
