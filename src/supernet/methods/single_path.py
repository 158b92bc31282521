"""One path: every step trains a single architecture of the supernet, drawn for that step.

RSPS, random search with parameter sharing (Li & Talwalkar, UAI 2019, arXiv 1902.07638): each step draws an architecture
uniformly and takes one step of its weights on the first half of the images; nothing else is learned. Which
architecture is best is for selection to say (`best-of-samples`). In NAS-Bench-201 (Dong & Yang, ICLR 2020) every edge
draws one of its operations, and where all edges into a node have drawn `none`, they draw again.

Difference from released code: an architecture is drawn again as a whole where a node gets nothing, which is the same
distribution, since nodes draw independently.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.methods.base import Budget, Method, Part, Stream
from supernet.methods.relaxation import candidate_mask
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype

_DRAWS = 1000  # until every node gets something


class SinglePath(Method):
    """Trains one architecture in each step; a subclass says in `draw` which.

    What an epoch is measured by is the architecture that was trained last.
    """

    def __init__(self, config: Any, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.steps = 0
        self.path = self.uniform(random.Random(f"{budget.seed} first path"))

    @property
    def streams(self) -> Mapping[str, Part | Stream]:
        """The first half of the images trains; the second judges."""
        return {"weights": "train"}

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Draw an architecture, the same one however often a run is resumed, and train it."""
        self.path = self.draw(random.Random(f"{self.budget.seed} path {self.steps}"))
        self.steps += 1
        return self.weight_step(batches["weights"], self.supernet.only(self.path))

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step."""
        return self.uniform(rng)

    def uniform(self, rng: random.Random) -> Genotype:
        """Draw uniformly one of the architectures that the search may choose in which something reaches every node."""
        found = self.sample(rng)
        for _ in range(_DRAWS):
            if reaches_every_node(self.supernet, found):
                break
            found = self.sample(rng)
        return found

    def mix(self) -> Mix:
        """Run the path that was drawn last."""
        return self.supernet.only(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Add the path, and how many have been drawn."""
        return super().state_dict() | {"steps": self.steps, "path": str(self.path)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.steps, self.path = state["steps"], self.supernet.space.parse(state["path"])


def reaches_every_node(supernet: Supernet, genotype: Genotype) -> bool:
    """Return whether every node of an architecture has an operation into it that is not `none`."""
    space = supernet.space
    return all(
        {c.target for c in genotype[kind] if not space.primitive(c.op).zero} == {e.target for e in cell.edges}
        for kind, cell in space.cells.items()
    )


@dataclass(frozen=True)
class RSPSConfig:
    """Settings of random search with parameter sharing: none."""


class RSPS(SinglePath):
    """Uniformly drawn paths, and no architecture parameters."""

    Config = RSPSConfig
    ranks = False

    def op_scores(self) -> dict[str, Tensor]:
        """Return the same for every candidate of an edge: nothing is learned of them."""
        masks = {kind: candidate_mask(cell).to(self.device) for kind, cell in self.supernet.space.cells.items()}
        return {kind: mask / mask.sum(-1, keepdim=True, dtype=torch.float32) for kind, mask in masks.items()}
