"""SETN: weights learn on uniformly drawn paths, alpha on the mix of all operations.

Dong & Yang, ICCV 2019, arXiv 1910.05733, as in NAS-Bench-201 (ICLR 2020). In each step the weights learn first, on one
uniformly drawn architecture and a batch of training images; alpha learns second, with all operations weighted by
softmax(alpha), on a batch of validation images. At the end the supernet evaluates the architectures with the largest
total log-probability, 100 there (`best-of-samples`).

Differences from released code: the architectures evaluated are exactly the most probable ones, not the best of random
draws, and all are evaluated on the same images.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.methods.base import Streams
from supernet.methods.gradient_method import GradientMethod
from supernet.methods.single_path import SinglePath
from supernet.models.mix import Mix
from supernet.settings import settings
from supernet.spaces.genotype import Genotype
from supernet.spaces.sampling import likeliest


@settings
class SETNConfig:
    """Settings of SETN."""

    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-4, 1e-3)


class SETN(SinglePath, GradientMethod):
    """Learns weights on uniformly drawn paths and alpha on the mix of all operations."""

    Config = SETNConfig
    streams: ClassVar[Streams] = {"weights": "train", "alpha": "validation"}
    config: SETNConfig

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train the weights of a path, then alpha."""
        metrics = self.train_weights(batches)
        self.alpha_step(batches["alpha"], self.mix())
        return metrics

    def mix(self) -> Mix:
        """Run all operations, weighted by softmax(alpha)."""
        return self.alphas.mix()

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype]:
        """Return the `count` architectures with the largest total log-probability."""
        return likeliest(self.supernet.space, self.op_score_lists(), count)
