"""Random search: random architectures are trained one after another, and the best is kept.

The baseline of Li & Talwalkar (2019, arXiv 1902.07638) and of NAS-Bench-201 (Dong & Yang, 2020, section 4): draw
architectures uniformly, train each for a short schedule, and keep the one with the best validation accuracy. The budget
is the number of passes over the training images, which makes a comparison with other methods at equal `epochs` fair:
each candidate gets `epochs_each` passes, or all of a search that has fewer. A candidate is trained alone, from new
random weights and with a cosine schedule of its own, on the training images, and evaluated on the validation images.
Candidates are drawn within the limits of the search.

Difference from NAS-Bench-201's own baseline, which reads 12-epoch accuracies from the table and spends simulated
seconds: this one trains, and so works in any space.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import BEGUN, Within
from supernet.methods.base import Budget, Method, Streams
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.settings import Count, settings
from supernet.spaces.genotype import Genotype


@settings
class RandomSearchConfig:
    """Settings of random search."""

    epochs_each: Count = 2
    """epochs for which each random architecture is trained, at most those of the search"""


class RandomSearch(Method):
    """Trains random architectures within the limits, each alone for `epochs_each` epochs, and keeps the best."""

    Config = RandomSearchConfig
    streams: ClassVar[Streams] = {"weights": "train"}
    capturable = True  # the candidate changes between epochs only
    fixed_epochs = "its learning rate is that of each candidate: search with another --seed for more of them"
    config: RandomSearchConfig

    def __init__(self, config: RandomSearchConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self._each = min(config.epochs_each, budget.epochs)  # a budget may leave a comparison's fewer epochs
        self.best_accuracy = -1.0
        self.best = self.candidate = self._draw(0)[0]
        self._mix = self.candidate, supernet.only(self.candidate)

    def begin_epoch(self, epoch: int) -> None:
        """Begin a new candidate with new weights after every `epochs_each` epochs."""
        number, own_epoch = divmod(epoch, self._each)
        if own_epoch == 0:
            self.candidate, seed = self._draw(number)
            self.restart(seed)
        self.set_rates(epoch)

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:
        """Set the learning rate of the candidate, whose schedule is its own."""
        self.set_rate(self.budget.weights.rate(epoch % self._each, self._each, within))

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the candidate."""
        return self.weight_step(batches["weights"], self.mix())

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Keep the candidate if its training is complete and its accuracy the best so far."""
        if (epoch + 1) % self._each == 0 and valid_accuracy > self.best_accuracy:
            self.best, self.best_accuracy = self.candidate, valid_accuracy
        return {"candidate": str(self.candidate), "best_accuracy": self.best_accuracy}

    def mix(self) -> Mix:
        """Run the candidate alone."""
        if self._mix[0] is not self.candidate:  # cached: a copy from the host in every step would wait for the device
            self._mix = self.candidate, self.supernet.only(self.candidate)
        return self._mix[1]

    def op_scores(self) -> dict[str, Tensor]:
        """Return the best architecture so far as one-hot rows."""
        return {kind: edges.weights for kind, edges in self.supernet.only(self.best).items()}

    def _draw(self, number: int) -> tuple[Genotype, int]:
        """Return candidate `number` and the seed of its weights, the same ones however often a run is resumed."""
        rng = random.Random(f"{self.budget.seed} {number}")
        return self.sample(rng), rng.getrandbits(32)

    def state_dict(self) -> dict[str, Any]:
        """Add the candidate and the best architecture so far."""
        best = {"best": str(self.best), "best_accuracy": self.best_accuracy}
        return super().state_dict() | {"candidate": str(self.candidate)} | best

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.candidate = self.supernet.space.parse(state["candidate"])
        self.best = self.supernet.space.parse(state["best"])
        self.best_accuracy = state["best_accuracy"]
