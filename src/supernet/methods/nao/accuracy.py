"""The accuracies of architectures, each run as a single path of a supernet."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.processes import spread
from supernet.models.evaluate import Scorer, ValidationBatches, first_images
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype


def accuracies(
    supernet: Supernet,
    genotypes: Sequence[Genotype],
    validation_batches: ValidationBatches,
    images: int | None = None,
    seed: str | None = None,
) -> list[float]:
    """Return the accuracy (0 to 1) of each architecture with the statistics of the batch.

    All are evaluated on the first `images` validation images; None takes all. With a `seed`, each is evaluated on one
    batch of its own, of `images` images drawn at random.
    """
    mixes = [supernet.only(genotype) for genotype in genotypes]
    if seed is None:
        return Scorer(supernet, first_images(validation_batches, images))(mixes).accuracy
    every = Batch(*(torch.cat(parts) for parts in zip(*validation_batches(), strict=True)))
    total, rng = len(every.y), random.Random(seed)
    count = min(images or total, total)
    drawn = [rng.sample(range(total), count) for _ in mixes]

    def compute(own: Sequence[tuple[Mix, list[int]]]) -> Tensor:
        pairs = [(mix, torch.tensor(numbers, device=every.y.device)) for mix, numbers in own]
        return torch.tensor([_accuracy(supernet, mix, Batch(*(p[at] for p in every))) for mix, at in pairs]).double()

    return spread(list(zip(mixes, drawn, strict=True)), compute).tolist()


def _accuracy(supernet: Supernet, mix: Mix, batch: Batch) -> float:
    return Scorer(supernet, lambda: [batch])([mix]).accuracy[0]
