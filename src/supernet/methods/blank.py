"""Blank: a supernet is trained with equal op weights, and no architecture is learned.

DARTS-PT with fixed alpha (Wang et al., ICLR 2021, arXiv 2108.04392): alpha stays at 0, so softmax gives each of an
edge's n operations the weight 1/n, and only the weights learn, on the training images. The architecture comes from
selection by perturbation alone, which evaluates on the validation images.

Difference from released code: there alpha stays at its small random start values, here at the paper's 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.methods.base import Budget, Method, NoConfig, Streams
from supernet.methods.relaxation import candidate_mask, relax
from supernet.models.mix import Mix, dense
from supernet.models.supernet import Supernet


class Blank(Method):
    """Learns the weights alone, with the op weight 1/n for each of the n candidates of an edge."""

    streams: ClassVar[Streams] = {"weights": "train"}
    capturable = True
    ranks = False

    def __init__(self, config: NoConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        masks = {kind: candidate_mask(cell).to(self.device) for kind, cell in supernet.space.cells.items()}
        like = self.weights[0]
        zeros = {kind: torch.zeros(mask.shape, dtype=like.dtype, device=like.device) for kind, mask in masks.items()}
        self._mix = dense({kind: relax(zeros[kind], mask, "softmax") for kind, mask in masks.items()})

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights."""
        return self.weight_step(batches["weights"], self._mix)

    def mix(self) -> Mix:
        """Run all candidates with equal op weights."""
        return self._mix
