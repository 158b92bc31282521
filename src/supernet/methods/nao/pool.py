"""The architectures that NAO has seen, and how often each of them is trained."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

from supernet.models.cost.count import Prices
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize


class Pool:
    """All architectures so far with their accuracies, None until they are judged; `trained`: those of this iteration.

    The order is that in which they came.
    """

    def __init__(self, space: SearchSpace, network_size: NetworkSize, sampling: Literal["params", "uniform"]) -> None:
        self.space, self.sampling = space, sampling
        self._prices = Prices(space, network_size)
        self.known: dict[Genotype, float | None] = {}
        self.trained: list[Genotype] = []
        self._shares: list[float] = []

    def begin(self, architectures: Iterable[Genotype]) -> None:
        """Train these from now on, and add them to those that are known."""
        self.trained = list(architectures)
        self.known |= {genotype: None for genotype in self.trained if genotype not in self.known}
        self._shares = list(accumulate(self.weights()))

    def weights(self) -> list[float]:
        """Return of each that is trained the number of parameters of its own network, or 1 if all are alike."""
        if self.sampling == "uniform":
            return [1.0] * len(self.trained)
        return [float(self._prices.total(genotype).params) for genotype in self.trained]

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step."""
        return rng.choices(self.trained, cum_weights=self._shares)[0]

    def judge(self, accuracies: Sequence[float]) -> None:
        """Take the accuracies of all that are known, in their order."""
        self.known = dict(zip(self.known, accuracies, strict=True))

    @property
    def ranked(self) -> list[Genotype]:
        """Those that have been judged, the most accurate first."""
        found = {genotype: accuracy for genotype, accuracy in self.known.items() if accuracy is not None}
        return sorted(found, key=lambda genotype: -found[genotype])

    @property
    def best(self) -> Genotype:
        """The most accurate, or any one before any is judged."""
        return next(iter(self.ranked or self.known))

    def state_dict(self) -> dict[str, Any]:
        """Return the architectures as text, with their accuracies."""
        return {
            "known": {str(g): accuracy for g, accuracy in self.known.items()},
            "trained": list(map(str, self.trained)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.known = {self.space.parse(text): accuracy for text, accuracy in state["known"].items()}
        self.begin(self.space.parse(text) for text in state["trained"])
