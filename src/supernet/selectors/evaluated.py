"""Evaluated: the base class of selectors of the best of architectures, each evaluated as one path of the supernet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from supernet.methods.base import Method
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.evaluate import Scorer, ValidationBatches, check_norm, first_images
from supernet.selectors.base import Selector
from supernet.spaces.genotype import Genotype


class Evaluated(Selector):
    """Evaluates architectures on the validation images, each once; its config has the fields `images` and `norm`.

    `scores`: accuracy and minus loss of every architecture so far.
    """

    def __init__(
        self, config: Any, method: Method, feasible: FeasibleSet, validation_batches: ValidationBatches, seed: int
    ) -> None:
        super().__init__(config, method, feasible, validation_batches, seed)
        self.images = first_images(validation_batches, config.images)
        self.scorer = Scorer(method.supernet, self.images, config.norm)
        targets = method.budget.targets
        self.targets = targets and targets.within(method.supernet.space)
        self.scores: dict[Genotype, tuple[float, float]] = {}

    @staticmethod
    def check(config: Any, *, tracked: bool) -> None:
        """Raise UserError for statistics of batch norm that the search does not keep."""
        check_norm(config.norm, tracked=tracked)

    @staticmethod
    def scored_on(config: Any) -> int | None:
        """Return how many images the config names, None for all; of running statistics no batch can be too small."""
        return None if config.norm == "running" else config.images

    def evaluate(self, genotypes: Iterable[Genotype]) -> None:
        """Score those of the architectures that are new."""
        new = [genotype for genotype in dict.fromkeys(genotypes) if genotype not in self.scores]
        found = self.scorer([self.method.supernet.only(genotype) for genotype in new])
        losses = [-loss for loss in found.loss]
        self.scores |= zip(new, zip(found.accuracy, losses, strict=True), strict=True)

    def fitness(self, genotype: Genotype) -> tuple[float, ...]:
        """Return what decides between evaluated architectures: accuracy less penalty, and the loss among equals."""
        accuracy, loss = self.scores[genotype]
        return accuracy - self.penalty(genotype), loss

    def penalty(self, genotype: Genotype) -> float:
        """Return what the search's targets, if there are any, take off the accuracy of an architecture above them."""
        return self.targets.excess(self.method.supernet.only(genotype)) if self.targets else 0.0

    def best(self) -> Genotype:
        """Return the fittest of all that have been evaluated, the first among equals."""
        return max(self.scores, key=self.fitness)

    def report(self) -> Mapping[str, Any]:
        """Return the accuracy of every architecture, on how many images, and the passes and seconds that they took."""
        return {
            "images": sum(len(batch.y) for batch in self.images()),
            "accuracies": {str(genotype): accuracy for genotype, (accuracy, _) in self.scores.items()},
            "supernet_accuracy": self.scores[self.best()][0],
            "passes": self.scorer.passes,
            "evaluation_seconds": round(self.scorer.spent, 1),
        }
