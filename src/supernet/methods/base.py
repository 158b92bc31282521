"""Method: how weights and architecture are learned together."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, clip_gradient, set_rate
from supernet.engine.seeds import seeded
from supernet.models.evaluate import ValidationBatches
from supernet.models.mix import Mix, detached
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype

Part = Literal["train", "validation", "all"]
"""Which training images a stream draws from: the first half of the split, the second, or both."""


@dataclass(frozen=True)
class Stream:
    """Batches of the images of `part`, of `size` images each; None is the search's batch size."""

    part: Part
    size: int | None = None

    @classmethod
    def of(cls, given: Part | Stream) -> Stream:
        """Return the stream that a method has declared in either way."""
        return given if isinstance(given, Stream) else cls(given)


@dataclass(frozen=True)
class Budget:
    """What a method may spend: `epochs` passes, the weights' optimizer, and the seed of everything it draws.

    `sample` draws one of the architectures that the search may choose; None draws from the whole space. `allows` says
    whether an architecture is one of those; None allows all. `price` makes, for the name of a cost, the function from
    op weights to the expected cost (see `supernet.models.cost.Expected`); None has none. `workers`: processes that the
    method may spread its trials over. `judged` gives the images that architectures are judged on: the second half, as
    it is.
    """

    epochs: int
    weights: SGDConfig
    seed: int
    sample: Callable[[random.Random], Genotype] | None = None
    allows: Callable[[Genotype], bool] | None = None
    price: Callable[[str], Callable[[Mapping[str, Sequence[Sequence[float]]]], float]] | None = None
    workers: int = 1
    validation_batches: ValidationBatches = tuple


class Method(ABC):
    """Learns the weights of a supernet and, with them, an architecture.

    A subclass declares its settings (`Config`, a frozen dataclass), the data it draws (`streams`), what one step does
    (`step`), and what the supernet should run (`mix`). It knows no loop, no file and no screen. The weights'
    optimizer with its schedule is here; `weight_step` takes one step of it.

    `capturable`: within an epoch every step starts the same operations of the device's, and nothing that it does is
    decided on the host: no draw of Python's, no path that changes. Then a GPU may record one step and replay it.

    `ranks`: its op weights say which operations are better; if not, an epoch has no architecture to name.
    `spreads`: it has trials to spread over the workers of its budget.

    `between`: what it does between epochs, in words, if that takes long: a forecast leaves it out.
    """

    Config: ClassVar[type]
    capturable: ClassVar[bool] = False  # a replay of what is decided anew in each step would be wrong without a word
    ranks: ClassVar[bool] = True
    spreads: ClassVar[bool] = False
    between_epochs: ClassVar[str] = ""

    def __init__(self, config: Any, supernet: Supernet, budget: Budget) -> None:
        self.config = config
        self.supernet = supernet
        self.budget = budget
        self.weights = list(supernet.parameters())
        self.device = self.weights[0].device
        self.optimizer = budget.weights.optimizer(self.weights)

    @property
    @abstractmethod
    def streams(self) -> Mapping[str, Part | Stream]:
        """Name each batch that `step` draws, and the images it comes from; the first one's length is the epoch's.

        The weights learn from all of them but those called "alpha" and "inner".
        """

    @property
    def period(self) -> int:
        """After how many steps what a step does begins again: a forecast times as many."""
        return 1

    @property
    def longest(self) -> int:
        """The epoch whose steps a forecast takes: the last, as in the first ones a method may spare itself work."""
        return self.budget.epochs - 1

    @abstractmethod
    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Learn from one batch of every stream; return scalar tensors to be averaged over the epoch.

        A stream that is not asked for its batch is not drawn from.
        """

    @abstractmethod
    def mix(self) -> Mix:
        """Return what the supernet runs now."""

    def op_scores(self) -> dict[str, Tensor]:
        """Return what was learned of each operation, (edges, columns) per kind: larger is better. Selectors read it."""
        return {kind: edges.weights.detach() for kind, edges in self.mix().items()}

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) that an epoch is measured by; the supernet is in evaluation mode then."""
        logits: Tensor = self.supernet(x, detached(self.mix()))
        return logits

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch number `epoch`, counted from 0: set the weights' learning rate."""
        set_rate(self.optimizer, self.budget.weights.rate(epoch, self.budget.epochs))

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Take note of the accuracy of `mix` on the second half of the images (NaN if the weights have seen them).

        Return what the epoch's row of metrics should have beside it, as plain data.
        """
        return {}

    def sample(self, rng: random.Random) -> Genotype:
        """Draw uniformly one of the architectures that the search may choose; raises UserError if none is found."""
        return (self.budget.sample or self.supernet.space.sample)(rng)

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype]:
        """Return up to `count` architectures that the method would try, limits aside: by default, random ones."""
        return [self.supernet.space.sample(rng) for _ in range(count)]

    def weight_step(self, batch: Batch, mix: Mix) -> Mapping[str, Tensor]:
        """Take one step of the weights on `batch`; the backward pass reaches whatever `mix` depends on, too."""
        self.optimizer.zero_grad()
        logits = self.supernet(batch.x, mix)
        loss = F.cross_entropy(logits, batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.clip()
        self.optimizer.step()
        return measures(loss, logits, batch)

    def clip(self) -> None:
        """Clip the gradient of the weights, and of nothing else."""
        clip_gradient(self.weights, self.budget.weights.clip)

    def restart(self, seed: int) -> None:
        """Draw all weights anew from `seed`, in place, and forget their momentum."""
        self.optimizer.state.clear()
        with seeded(seed, self.device):
            self.supernet.redraw()  # not reset_parameters(), which a module of the user's need not have

    def state_dict(self) -> dict[str, Any]:
        """Return everything a run needs to go on exactly, as tensors, numbers, strings, lists and dicts."""
        return {"supernet": self.supernet.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def accuracy(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> float:
    """Return the share of all images whose largest logit, of those that `forward` gives, is their class's."""
    hits = torch.cat([forward(batch.x).argmax(1) == batch.y for batch in batches])
    return int(hits.sum()) / len(hits)


def measures(loss: Tensor, logits: Tensor, batch: Batch) -> Mapping[str, Tensor]:
    """Return the loss and the accuracy (0 to 1) of a batch as tensors, without waiting for the device."""
    with torch.no_grad():
        return {"loss": loss.detach(), "accuracy": (logits.argmax(1) == batch.y).float().mean()}
