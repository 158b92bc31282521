"""Best of samples: of some architectures, the one that the supernet itself runs best, with one path each.

How RSPS, ENAS and SETN end (Li & Talwalkar, UAI 2019; Dong & Yang, NAS-Bench-201, ICLR 2020: 100 architectures), on any
run. Where they come from is one of

- own: what the method would try: ENAS' controller, SETN's architectures of largest probability, NAO's pool; of any
  other method, random ones
- uniform: the space, uniformly
- alpha: each operation by its op weight
- likeliest: those of largest probability under the op weights

Differences from released code: all are judged on the same images (there each on another random batch, whose noise is
larger than what it should tell apart), by default on the whole second half; no architecture is judged twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from supernet.errors import UserError, at_least
from supernet.models.evaluate import Scorer, Statistics, ValidationBatches, check_norm, first_images
from supernet.selectors.base import Selector
from supernet.spaces.genotype import Genotype
from supernet.spaces.sampling import draw, likeliest

if TYPE_CHECKING:
    from supernet.methods.base import Method
    from supernet.models.cost.best import FeasibleSet

Sampler = Literal["own", "uniform", "alpha", "likeliest"]

_ROUNDS = 6  # of ever more architectures, until there are enough different ones within the limits


@dataclass(frozen=True)
class BestOfSamplesConfig:
    """Settings of the best of samples."""

    samples: int = 100
    """architectures that are judged"""
    sampler: Sampler = "own"
    """where they come from: the method's own way, uniform, by op weight (alpha), or the likeliest by op weight"""
    images: int | None = None
    """images that they are judged on, of the second half; None is all of it"""
    norm: Statistics = "batch"
    """batch norm takes the statistics of the batch, or its running ones"""

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples, images=self.images)


class BestOfSamples(Selector):
    """The most accurate of some architectures in the supernet; of equals, the one with the least loss."""

    Config = BestOfSamplesConfig
    config: BestOfSamplesConfig

    def __init__(
        self,
        config: BestOfSamplesConfig,
        method: Method,
        feasible: FeasibleSet,
        validation_batches: ValidationBatches,
        seed: int,
    ) -> None:
        super().__init__(config, method, feasible, validation_batches, seed)
        running, some = config.norm == "running", first_images(validation_batches, config.images)
        self.scorer = Scorer(method.supernet, some, running=running)
        self._told: dict[str, Any] = {}

    @staticmethod
    def check(config: Any, *, tracked: bool) -> None:
        """Raise UserError for running statistics that are not kept."""
        check_norm(config.norm, tracked=tracked)

    def genotype(self) -> Genotype:
        """Return the best."""
        found = samples(self.method, self.feasible, self.config.sampler, self.config.samples, random.Random(self.seed))
        scores = self.scorer([self.method.supernet.only(genotype) for genotype in found])
        best = max(range(len(found)), key=lambda n: (scores.accuracy[n], -scores.loss[n]))
        self._told = {
            "judged": {str(g): accuracy for g, accuracy in zip(found, scores.accuracy, strict=True)},
            "supernet_accuracy": scores.accuracy[best],
            "passes": self.scorer.passes,
            "evaluation_seconds": round(self.scorer.spent, 1),
        }
        return found[best]

    def report(self) -> Mapping[str, Any]:
        """Return the accuracy of every architecture that was judged, and what it took."""
        return self._told


def samples(method: Method, feasible: FeasibleSet, sampler: Sampler, count: int, rng: random.Random) -> list[Genotype]:
    """Return `count` different architectures within the limits, fewer where there are not so many.

    Raises UserError where there is none.
    """
    draw = _sampler(method, feasible, sampler)
    found: dict[Genotype, None] = {}
    for number in range(_ROUNDS):
        new = (genotype for genotype in draw(count << number, rng) if genotype not in found)
        for genotype in new:
            if feasible.allows(genotype):
                found[genotype] = None
            if len(found) == count:
                return list(found)
    if not found:
        raise UserError(f"no architecture of sampler '{sampler}' is within the limits: {feasible.limits}; try uniform")
    return list(found)


def _sampler(
    method: Method, feasible: FeasibleSet, sampler: Sampler
) -> Callable[[int, random.Random], Sequence[Genotype] | Iterator[Genotype]]:
    """Return what gives so many architectures, some perhaps more than once."""
    space = feasible.space
    match sampler:
        case "own":
            return method.proposals
        case "uniform":
            return lambda count, rng: (feasible.sample(rng) for _ in range(count))
    weights = {kind: value.tolist() for kind, value in method.op_scores().items()}
    if sampler == "alpha":
        return lambda count, rng: (draw(space, weights, rng) for _ in range(count))
    return lambda count, rng: likeliest(space, weights, count)
