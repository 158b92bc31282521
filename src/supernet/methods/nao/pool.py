"""The pool of NAO: all architectures so far with their accuracies, and the sampling of those being trained."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

from supernet.models.cost.count import OperationCosts
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize


class Pool:
    """All architectures so far, in the order in which they were added.

    - `accuracies`: the accuracy of each in the supernet, None before its first evaluation.
    - `trained`: the architectures of this iteration.
    """

    def __init__(self, space: SearchSpace, network_size: NetworkSize, sampling: Literal["params", "uniform"]) -> None:
        self.space, self.sampling = space, sampling
        self._prices = OperationCosts(space, network_size)
        self.accuracies: dict[Genotype, float | None] = {}
        self.trained: list[Genotype] = []
        self._cumulative: list[float] = []

    def begin(self, architectures: Iterable[Genotype]) -> None:
        """Begin an iteration that trains `architectures`, and add those that are new."""
        self.trained = list(architectures)
        self.accuracies |= {genotype: None for genotype in self.trained if genotype not in self.accuracies}
        self._cumulative = list(accumulate(self.weights()))

    def weights(self) -> list[float]:
        """Return the sampling weight of each trained architecture: its number of parameters as a network, or 1."""
        if self.sampling == "uniform":
            return [1.0] * len(self.trained)
        return [float(self._prices.total(genotype).params) for genotype in self.trained]

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step."""
        return rng.choices(self.trained, cum_weights=self._cumulative)[0]

    def record(self, accuracies: Sequence[float]) -> None:
        """Set the accuracies of all architectures, in their order."""
        self.accuracies = dict(zip(self.accuracies, accuracies, strict=True))

    @property
    def ranked(self) -> list[Genotype]:
        """The architectures that have an accuracy, the most accurate first."""
        evaluated = {genotype: accuracy for genotype, accuracy in self.accuracies.items() if accuracy is not None}
        return sorted(evaluated, key=lambda genotype: -evaluated[genotype])

    @property
    def best(self) -> Genotype:
        """The most accurate architecture, or the first before any evaluation."""
        return next(iter(self.ranked or self.accuracies))

    def state_dict(self) -> dict[str, Any]:
        """Return the architectures as text, with their accuracies."""
        return {
            "accuracies": {str(genotype): accuracy for genotype, accuracy in self.accuracies.items()},
            "trained": list(map(str, self.trained)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        self.accuracies = {self.space.parse(text): accuracy for text, accuracy in state["accuracies"].items()}
        self.begin(self.space.parse(text) for text in state["trained"])
