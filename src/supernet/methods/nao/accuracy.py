"""How accurate architectures are as paths of a supernet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import repeat

import torch

from supernet.data import Batch
from supernet.models.evaluate import Scorer, ValidationBatches, first_images
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype


def accuracies(
    supernet: Supernet,
    genotypes: Sequence[Genotype],
    validation_batches: ValidationBatches,
    images: int | None = None,
    seed: str | None = None,
) -> list[float]:
    """Return the accuracy (0 to 1) of each, with the statistics of the batch.

    All are judged on the first `images` of `judged`, None being all of them; with a `seed`, each on one batch of so
    many images that are drawn for it.
    """
    mixes = [supernet.only(genotype) for genotype in genotypes]
    if seed is None:
        return Scorer(supernet, first_images(validation_batches, images), timed=False)(mixes).accuracy
    everything = Batch(*(torch.cat(parts) for parts in zip(*validation_batches(), strict=True)))
    count, rng = min(images or len(everything.y), len(everything.y)), random.Random(seed)
    found = []
    for mix in mixes:
        drawn = torch.tensor(rng.sample(range(len(everything.y)), count), device=everything.y.device)
        batch = Batch(*(part[drawn] for part in everything))
        found += Scorer(supernet, lambda batch=batch: repeat(batch, 1), timed=False)([mix]).accuracy  # type: ignore[misc]
    return found
