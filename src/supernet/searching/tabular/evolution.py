"""Regularised evolution with ageing (Real et al., AAAI 2019, arXiv 1802.01548), as NAS-Bench-201 compares it.

The population is the last `population` architectures, random ones at first. The fittest of `tournament` of them, drawn
with replacement, is mutated: of a random node a random edge gets another operation. Where an architecture keeps few of
a node's edges, this is as likely as another source for it, with the same operation if that edge has it.
"""

from __future__ import annotations

import random
from collections import deque

from supernet.searching.tabular.queries import Queries
from supernet.settings import Count, settings
from supernet.spaces.tokens import Sequences, Tokens


@settings
class EvolutionConfig:
    """Settings of regularised evolution; the defaults are NAS-Bench-201's."""

    prefix = "evolution."  # of the fields in messages

    population: Count = 10
    """architectures alive at a time"""
    tournament: Count = 3
    """architectures drawn from the population, with replacement; the fittest is the parent"""


def evolution(queries: Queries, config: EvolutionConfig, rng: random.Random) -> None:
    """Query random architectures, and then children of the fittest in each tournament, until the queries are spent."""
    alive: deque[tuple[float, Tokens]] = deque(maxlen=config.population)
    while queries.left:
        if len(alive) < config.population:
            child = queries.drawn(rng)
        else:
            _, parent = max(rng.choices(alive, k=config.tournament), key=lambda one: one[0])
            child = mutated(queries.sequences, parent, rng)
        alive.append((queries.ask(child), child))


def mutated(sequences: Sequences, tokens: Tokens, rng: random.Random) -> Tokens:
    """Return a neighbour: another operation or source on an edge, uniform over nodes, and over the edges of each.

    In a space of a single architecture that one is returned.
    """
    nodes = [[n for n in node if any(_others(sequences, tokens, n))] for node in sequences.nodes()]
    if not any(nodes):
        return tokens
    number = rng.choice(rng.choice([node for node in nodes if node]))
    sources, ops = _others(sequences, tokens, number)
    source, op = tokens[2 * number : 2 * number + 2]
    if sources and (not ops or rng.random() < 0.5):
        source = rng.choice(sources)
        ops = sequences.slots[number].ops[source]
        op = op if op in ops else rng.choice(ops)
    else:
        op = rng.choice(ops)
    return (*tokens[: 2 * number], source, op, *tokens[2 * number + 2 :])


def _others(sequences: Sequences, tokens: Tokens, number: int) -> tuple[Tokens, Tokens]:
    """Return the other sources of pair `number`, and its other operations from the present source."""
    slot, (source, op) = sequences.slots[number], tokens[2 * number : 2 * number + 2]
    taken = [tokens[2 * n] for n, other in enumerate(sequences.slots) if other.first == slot.first]
    return tuple(s for s in slot.edges if s not in taken), tuple(o for o in slot.ops[source] if o != op)
