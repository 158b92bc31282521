"""Selection of the best of some architectures, each evaluated as one path of the supernet.

RSPS, ENAS and SETN end with this selection (Li & Talwalkar, UAI 2019; Dong & Yang, NAS-Bench-201, ICLR 2020: 100
architectures); here it works on any run. The architectures come from one of

- own: the method's proposals: ENAS' controller, SETN's most probable architectures, NAO's pool; for any other method,
  random architectures within the limits
- uniform: a uniform draw from those within the limits
- alpha: a draw of each operation with probability proportional to its op score
- likeliest: the most probable architectures under these probabilities

Where none of them is within the limits of the search, the architecture within them with the largest sum of op scores is
taken, as by the selector `magnitude`: a controller or op weights that have settled on larger ones never draw a smaller,
and random draws may miss rare ones.

With a `prior`, a zero-cost score (see `supernet.models.zero_cost`), the architecture with the best mean of two ranks
is selected: that by accuracy in the supernet and that by the prior.

Differences from released code: all architectures are evaluated on the same validation images, by default on all of them
(there each on another random batch, whose noise exceeds the differences in question), and none is evaluated twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from supernet.errors import UserError
from supernet.methods.base import Method
from supernet.models.cost.feasible import FeasibleSet, NoDrawError
from supernet.models.evaluate import Statistics
from supernet.models.rank_metrics import combined
from supernet.models.zero_cost import Score, scored_images, zero_cost
from supernet.selectors.evaluated import Evaluated
from supernet.settings import Count, Share, settings
from supernet.spaces.genotype import Genotype
from supernet.spaces.sampling import draws, likeliest

Sampler = Literal["own", "uniform", "alpha", "likeliest"]

_ROUNDS = 6  # of draws, each of twice as many architectures, until enough different ones are within the limits


@settings
class BestOfSamplesConfig:
    """Settings of the best of samples."""

    samples: Count = 100
    """architectures that are evaluated"""
    sampler: Sampler = "own"
    """origin of the architectures: the method's proposals (own), uniform or alpha draws, or the likeliest ones"""
    images: Count | None = None
    """validation images for the evaluation; None is all"""
    norm: Statistics = "batch"
    """statistics of batch normalisation in the evaluation"""
    prior: Score | None = None
    """zero-cost score by which the architectures are ranked as well; None ranks by the supernet alone"""
    prior_share: Share = 0.5
    """weight of the prior's rank; the rank by accuracy has the rest"""


class BestOfSamples(Evaluated):
    """Selects the architecture with the best accuracy in the supernet, and the smallest loss among equals.

    The penalty of the search's targets, if there are any, is taken off the accuracy.
    """

    Config = BestOfSamplesConfig
    config: BestOfSamplesConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.prior: dict[Genotype, float] = {}

    def genotype(self) -> Genotype:
        """Evaluate the architectures and return the best."""
        config, rng = self.config, random.Random(self.seed)
        try:
            drawn = samples(self.method, self.feasible, config.sampler, config.samples, rng)
        except NoDrawError:
            drawn = []
        self.evaluate(drawn or [self.feasible.best(self.method.op_score_lists())])
        if config.prior is not None:
            self.prior = dict(zip(self.scores, self._prior(config.prior), strict=True))
        return self.best()

    def _prior(self, name: Score) -> list[float]:
        supernet = self.method.supernet
        x = scored_images(self.validation_batches())
        return zero_cost(name, supernet.space, [*self.scores], supernet.network_size, x, self.seed)

    def best(self) -> Genotype:
        """Return the best by both ranks, or by accuracy without a prior, and the fitter among equals."""
        if not self.prior:
            return super().best()
        fitness = [self.fitness(genotype) for genotype in self.scores]
        ranks = combined([accuracy for accuracy, _ in fitness], [*self.prior.values()], self.config.prior_share)
        return max(zip(ranks, fitness, self.scores, strict=True), key=lambda each: each[:2])[2]

    def report(self) -> Mapping[str, Any]:
        """Add the prior of every architecture, if there is one."""
        prior = {"prior": {str(genotype): value for genotype, value in self.prior.items()}} if self.prior else {}
        return {**super().report(), **prior}


def samples(method: Method, feasible: FeasibleSet, sampler: Sampler, count: int, rng: random.Random) -> list[Genotype]:
    """Return `count` different architectures within the limits, fewer only if no more are found.

    Raises UserError if no architecture is within the limits, and NoDrawError if none is found by uniform draws.
    """
    draw, count = _sampler(method, feasible, sampler), min(count, feasible.space.size)
    genotypes: dict[Genotype, None] = {}
    try:
        for number in range(_ROUNDS):
            new = (genotype for genotype in draw(count << number, rng) if genotype not in genotypes)
            for genotype in new:
                if feasible.allows(genotype):
                    genotypes[genotype] = None
                if len(genotypes) == count:
                    return list(genotypes)
    except NoDrawError:
        if not genotypes:
            raise
    return list(genotypes)


def _sampler(
    method: Method, feasible: FeasibleSet, sampler: Sampler
) -> Callable[[int, random.Random], Sequence[Genotype] | Iterator[Genotype]]:
    """Return the function that draws a number of architectures, some possibly more than once."""
    space = feasible.space

    def uniform(count: int, rng: random.Random) -> Iterator[Genotype]:
        return (feasible.sample(rng) for _ in range(count))

    def own(count: int, rng: random.Random) -> Sequence[Genotype] | Iterator[Genotype]:
        found = method.proposals(count, rng)
        return uniform(count, rng) if found is None else found

    match sampler:
        case "own":
            return own
        case "uniform":
            return uniform
    weights = method.op_score_lists()
    edges = (
        (edge, row) for kind, cell in space.cells.items() for edge, row in zip(cell.edges, weights[kind], strict=True)
    )
    if any(score < 0 for edge, row in edges for score in row[: len(edge.ops)]):
        raise UserError(f"sampler {sampler} takes op scores for shares, and some are below 0: take own or uniform")
    if sampler == "alpha":
        return lambda count, rng: islice(draws(space, weights, rng), count)
    return lambda count, rng: likeliest(space, weights, count)
