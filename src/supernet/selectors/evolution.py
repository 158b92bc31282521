"""Selection by regularised evolution: the best of architectures that evolve by their accuracy in the supernet.

The evolution is that of Real et al. (AAAI 2019), with NAS-Bench-201's population, tournament and mutation (`ageing`);
its fitness is the accuracy, or the loss, on validation images with the supernet's weights, as Guo et al. (ECCV 2020,
arXiv 1904.00420) search a supernet, there by another evolution. The budget is the number of architectures asked for;
random search under the same budget is `best-of-samples` with the sampler uniform.

An architecture that comes again counts, but is not evaluated again, since its score would be the same. The fittest of
all is selected, alive at the end or not. Where random draws find no architecture within the limits of the search, the
evolution begins with the one that has the largest sum of op scores.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from supernet.models.evaluate import Statistics
from supernet.selectors.ageing import Ageing, evolution
from supernet.selectors.evaluated import Evaluated
from supernet.settings import Count, settings
from supernet.spaces.genotype import Genotype


@settings
class EvolutionConfig(Ageing):
    """Settings of the selection by evolution."""

    samples: Count = 100
    """architectures that are asked for, those that come again included"""
    criterion: Literal["accuracy", "loss"] = "accuracy"
    """fitness: the accuracy in the supernet, and the loss among equals; or the loss alone"""
    images: Count | None = None
    """validation images for the evaluation; None is all"""
    norm: Statistics = "batch"
    """statistics of batch normalisation in the evaluation"""


class Evolution(Evaluated):
    """Selects the fittest of the architectures that an evolution in the supernet asks for."""

    Config = EvolutionConfig
    config: EvolutionConfig

    def genotype(self) -> Genotype:
        """Let the architectures evolve, and return the fittest of all."""
        config, rng = self.config, random.Random(self.seed)
        evolution(self.feasible, self._fitnesses, config, config.samples, rng, self._by_scores)
        return self.best()

    def _by_scores(self) -> Genotype:
        return self.feasible.best(self.method.op_score_lists())

    def fitness(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the accuracy and, among equals, minus the loss; under criterion loss minus the loss alone.

        The first is less the penalty of targets.
        """
        if self.config.criterion == "accuracy":
            return super().fitness(genotype)
        return (self.scores[genotype][1] - self.penalty(genotype),)

    def _fitnesses(self, genotypes: Sequence[Genotype]) -> list[tuple[float, ...]]:
        self.evaluate(genotypes)
        return [self.fitness(genotype) for genotype in genotypes]
