"""Blank: the supernet without an architecture to learn — every operation of an edge weighs the same, throughout.

DARTS-PT with fixed alpha (Wang et al., ICLR 2021, arXiv 2108.04392): alpha stays 0, so that softmax gives each of an
edge's n operations the weight 1/n, and only the weights learn, on the first half of the images. What the architecture
is comes from selection by perturbation alone, which judges on the second half.

Difference from released code: there alpha stays at the small random numbers it was drawn as, here at the paper's 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.methods.base import Budget, Method, Part
from supernet.methods.relaxation import candidate_mask, relax
from supernet.models.mix import Mix, dense
from supernet.models.supernet import Supernet


@dataclass(frozen=True)
class BlankConfig:
    """Settings of a search without alpha: none."""


class Blank(Method):
    """Learns the weights alone, with the op weight 1/n for each of the n candidates of an edge."""

    Config = BlankConfig
    capturable = True
    ranks = False

    def __init__(self, config: BlankConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        masks = {kind: candidate_mask(cell).to(self.device) for kind, cell in supernet.space.cells.items()}
        like = self.weights[0]
        zeros = {kind: torch.zeros(mask.shape, dtype=like.dtype, device=like.device) for kind, mask in masks.items()}
        self._mix = dense({kind: relax(zeros[kind], mask, "softmax") for kind, mask in masks.items()})

    @property
    def streams(self) -> Mapping[str, Part]:
        """The first half of the images trains; the second is left to selection."""
        return {"weights": "train"}

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights."""
        return self.weight_step(batches["weights"], self._mix)

    def mix(self) -> Mix:
        """Run everything, equally weighted."""
        return self._mix
