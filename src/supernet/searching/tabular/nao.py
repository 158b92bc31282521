"""NAO on a table (Luo et al., NeurIPS 2018, arXiv 1808.07233): the controller learns from the queries so far.

Random architectures are queried first. Then, until the queries are spent, the controller is trained on every queried
architecture, and new architectures that it generates from the best are queried.

The defaults are for some hundreds of queries, where the paper has a thousand: a sixth of the queries are random, each
round has a twelfth and starts from the best forty. A round adds few architectures, so the controller goes on from the
last round, with a larger learning rate and fewer epochs than a controller that is trained anew.
"""

from __future__ import annotations

import random

from supernet.methods.nao.controller import Controller
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.searching.tabular.queries import Queries
from supernet.settings import Count, settings
from supernet.spaces.tokens import Tokens


@settings
class TabularNAOConfig:
    """Settings of NAO on a table."""

    prefix = "nao."  # of the fields in messages

    pool: Count = 50
    """random architectures at the beginning"""
    new: Count = 25
    """architectures generated per round"""
    controller: ControllerConfig = ControllerConfig(epochs=75, lr=3e-3, start="continue", top=40)


def nao(queries: Queries, config: TabularNAOConfig, rng: random.Random) -> None:
    """Query random architectures, then those that the controller generates, until none is new or no query is left."""
    sequences = queries.sequences
    controller = Controller(sequences, config.controller, rng.getrandbits(62))
    fitness: dict[Tokens, float] = {}  # by canonical form
    new = controller.generate((), (), min(config.pool, queries.left)).tokens
    while new:
        fitness |= {sequences.canonical(tokens): queries.ask(tokens) for tokens in new}
        if not queries.left:
            return
        controller.fit(list(fitness), list(fitness.values()))
        best = sorted(fitness, key=fitness.__getitem__, reverse=True)
        new = controller.generate(best, fitness, min(config.new, queries.left)).tokens
