"""Regularised evolution on a table: see `supernet.selectors.ageing`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from supernet.models.cost.feasible import FeasibleSet
from supernet.searching.tabular.queries import Queries
from supernet.selectors import ageing
from supernet.selectors.ageing import Ageing
from supernet.settings import settings
from supernet.spaces.genotype import Genotype
from supernet.spaces.size import NetworkSize


@settings
class EvolutionConfig(Ageing):
    """Settings of regularised evolution on a table."""

    prefix = "evolution."  # of the fields in messages


def evolution(queries: Queries, config: EvolutionConfig, rng: random.Random) -> None:
    """Query random architectures, and then children of the fittest in each tournament, until the queries are spent."""
    sequences = queries.sequences
    whole = FeasibleSet(sequences.space, NetworkSize())  # without limits, whatever the size

    def accuracies(some: Sequence[Genotype]) -> list[float]:
        return [queries.ask(sequences.encode(one)) for one in some]

    ageing.evolution(whole, accuracies, config, queries.left, rng, partial(whole.sample, rng))
