"""Regularised evolution with ageing (Real et al., AAAI 2019, arXiv 1802.01548), as NAS-Bench-201 compares it.

The population is the last `population` architectures, random ones at first. The fittest of `tournament` of them, drawn
with replacement, is mutated: of a random node a random edge gets another operation. Where an architecture keeps few of
a node's edges, this is as likely as another source for it, with the same operation if that edge has it. Where a node
may keep more or fewer edges, a random node becomes that of a random architecture instead.

Within limits, tournament and mutation are repeated until the child is feasible; if none of many is, a random feasible
architecture takes its place. Where random draws find none, the evolution begins with a given architecture instead, or
ends before its time.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from supernet.models.cost.feasible import FeasibleSet, NoDrawError
from supernet.settings import Count, settings
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences, Tokens

Fitness = Callable[[Sequence[Genotype]], Sequence[Any]]
"""Returns a value per architecture, higher is better; values must be comparable."""

_TRIES = 100  # children until one is within the limits


@settings
class Ageing:
    """Settings of regularised evolution; the defaults are NAS-Bench-201's."""

    population: Count = 10
    """architectures alive at a time"""
    tournament: Count = 3
    """architectures drawn from the population, with replacement; the fittest is the parent"""


def evolution(
    feasible: FeasibleSet,
    fitness: Fitness,
    ageing: Ageing,
    count: int,
    rng: random.Random,
    instead: Callable[[], Genotype],
) -> None:
    """Ask for the fitness of `count` architectures: random ones, and then a child of the fittest in each tournament.

    The random ones are asked for together. A child may be an architecture that was asked for before. Where random draws
    find no architecture within the limits, the first one is that of `instead`, and there may be fewer than `count`.
    """
    mutate = _mutation(feasible.space)
    first = list(_drawn(feasible, rng, min(ageing.population, count))) or [instead()]
    alive = deque(zip(fitness(first), first, strict=True), maxlen=ageing.population)

    def child() -> Genotype | None:
        for _ in range(_TRIES):
            _, parent = max(rng.choices(alive, k=ageing.tournament), key=lambda one: one[0])
            genotype = mutate(parent, rng)
            if feasible.allows(genotype):
                return genotype
        return next(_drawn(feasible, rng, 1), None)

    for _ in range(count - len(first)):
        if (genotype := child()) is None:
            break
        alive.append((fitness([genotype])[0], genotype))


def _drawn(feasible: FeasibleSet, rng: random.Random, count: int) -> Iterator[Genotype]:
    """Yield `count` random architectures within the limits, fewer if draws find no more."""
    with suppress(NoDrawError):
        for _ in range(count):
            yield feasible.sample(rng)


def _mutation(space: SearchSpace) -> Callable[[Genotype, random.Random], Genotype]:
    """Return the function that draws a neighbour of an architecture."""
    if any(cell.varies for cell in space.cells.values()):
        return partial(_renewed, space)
    sequences = Sequences(space)
    return lambda parent, rng: sequences.decode(mutated(sequences, sequences.encode(parent), rng))


def _renewed(space: SearchSpace, parent: Genotype, rng: random.Random) -> Genotype:
    """Return an architecture in which one node is that of a random one, for nodes that keep more or fewer edges."""
    other = space.sample(rng)
    nodes = [(kind, target) for kind, cell in space.cells.items() for target in sorted({e.target for e in cell.edges})]
    kind, target = rng.choice(nodes)
    own, others = space.columns(parent), space.columns(other)
    row = zip(space.cells[kind].edges, own[kind], others[kind], strict=True)
    return space.choose(own | {kind: tuple(new if edge.target == target else old for edge, old, new in row)})


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
