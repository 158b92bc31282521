"""Single-path training: every step trains one architecture of the supernet, drawn for that step; and RSPS.

RSPS, random search with parameter sharing (Li & Talwalkar, UAI 2019, arXiv 1902.07638): each step draws an architecture
uniformly and takes one step of its weights on a batch of training images. Nothing else is learned; the selector
`best-of-samples` chooses the architecture. In NAS-Bench-201 (Dong & Yang, ICLR 2020) every edge draws one of its
operations, whatever the others have drawn; SETN draws again for a node whose edges have all drawn `none`.

Difference from released code, in SETN: if a node has no input, the whole architecture is drawn again, and only after
1000 draws in vain single nodes are. Without limits on cost the distribution is the same, because nodes draw
independently. Within limits they do not: there the whole architecture alone is drawn again, uniformly among those
within the limits, and after 1000 draws in vain a node may have no input.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.methods.base import Budget, Method, Streams
from supernet.methods.relaxation import candidate_mask
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace

_DRAWS = 1000  # at most so many are drawn in search of an architecture with an input to every node


class SinglePath(Method):
    """Trains one architecture, the path, in each step; a subclass overrides `draw` to choose it.

    An epoch is measured by the path of its last step.
    """

    streams: ClassVar[Streams] = {"weights": "train"}

    def __init__(self, config: Any, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.steps = 0
        self.path = self.uniform(random.Random(f"{budget.seed} first path"))

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train a path."""
        return self.train_weights(batches)

    def train_weights(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Draw an architecture, the same one however often a run is resumed, and train its weights."""
        self.path = self.draw(random.Random(f"{self.budget.seed} path {self.steps}"))
        self.steps += 1
        return self.weight_step(batches["weights"], self.supernet.only(self.path))

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step."""
        return self.uniform(rng)

    def uniform(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly among those within the limits in which every node has an input.

        After 1000 draws in vain: without limits node by node, and within them with a node that has no input.
        """
        genotype = self.sample(rng)
        for _ in range(_DRAWS):
            if reaches_every_node(self.supernet, genotype):
                return genotype
            genotype = self.sample(rng)
        return genotype if self.budget.allows else self._node_by_node(genotype, rng)

    def _node_by_node(self, genotype: Genotype, rng: random.Random) -> Genotype:
        """Return the architecture with the nodes that have no input drawn again until each has one."""
        space = self.supernet.space
        for _ in range(_DRAWS):
            bare = bare_nodes(space, genotype)
            if not any(bare.values()):
                break
            own, others = space.columns(genotype), space.columns(self.sample(rng))
            genotype = space.choose(
                {
                    kind: [
                        other if edge.target in bare[kind] else column
                        for edge, column, other in zip(cell.edges, own[kind], others[kind], strict=True)
                    ]
                    for kind, cell in space.cells.items()
                }
            )
        return genotype

    def mix(self) -> Mix:
        """Run the path of the last step."""
        return self.supernet.only(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Add the path and the number of steps."""
        return super().state_dict() | {"steps": self.steps, "path": str(self.path)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.steps, self.path = state["steps"], self.supernet.space.parse(state["path"])


def reaches_every_node(supernet: Supernet, genotype: Genotype) -> bool:
    """Return whether every node has an incoming operation other than `none`."""
    return not any(bare_nodes(supernet.space, genotype).values())


def bare_nodes(space: SearchSpace, genotype: Genotype) -> dict[str, set[int]]:
    """Return the nodes of each kind of cell without an incoming operation other than `none`."""
    return {
        kind: {e.target for e in cell.edges} - {c.target for c in genotype[kind] if not space.primitive(c.op).zero}
        for kind, cell in space.cells.items()
    }


class RSPS(SinglePath):
    """Trains uniformly drawn paths, without architecture parameters."""

    ranks = False

    def draw(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly among those within the limits; a node of it may have no input."""
        return self.sample(rng)

    def op_scores(self) -> dict[str, Tensor]:
        """Return 1/n for each of the n candidates of an edge: no scores are learned."""
        masks = {kind: candidate_mask(cell).to(self.device) for kind, cell in self.supernet.space.cells.items()}
        return {kind: mask / mask.sum(-1, keepdim=True, dtype=torch.float32) for kind, mask in masks.items()}
