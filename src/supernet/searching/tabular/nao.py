"""NAO on a table (Luo et al., NeurIPS 2018, arXiv 1808.07233): the controller learns from what has been asked for.

Random architectures are asked for first. Then, until the queries are spent, the controller is trained on all that are
known, and those that it generates from the best of them are asked for, none of them known before.

The defaults are for some hundreds of queries, where the paper has a thousand: a sixth of them random, a new round after
every twelfth, from the best forty. As a round trains on few architectures, the controller goes on from the last one,
with a larger learning rate and fewer epochs than where it is trained anew.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from supernet.errors import at_least
from supernet.methods.nao.controller import Controller
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.searching.tabular.queries import Queries
from supernet.spaces.tokens import Tokens


@dataclass(frozen=True)
class TabularNAOConfig:
    """Settings of NAO on a table."""

    pool: int = 50
    """random architectures in the beginning"""
    new: int = 25
    """architectures generated in a round"""
    controller: ControllerConfig = ControllerConfig(epochs=75, lr=3e-3, start="continue", top=40)

    def __post_init__(self) -> None:
        at_least(1, pool=self.pool, new=self.new)


def nao(queries: Queries, settings: TabularNAOConfig, rng: random.Random) -> None:
    """Ask for random architectures, and then for those that the controller generates; end where nothing is new."""
    sequences = queries.sequences
    controller = Controller(sequences, settings.controller, rng.getrandbits(62))
    known: dict[Tokens, float] = {}  # by canonical form
    found = controller.generate((), (), min(settings.pool, queries.left)).tokens
    while found:
        known |= {sequences.canonical(tokens): queries.ask(tokens) for tokens in found}
        if not queries.left:
            return
        controller.fit(list(known), list(known.values()))
        best = sorted(known, key=known.__getitem__, reverse=True)
        found = controller.generate(best, known, min(settings.new, queries.left)).tokens
