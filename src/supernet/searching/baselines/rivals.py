"""The networks of a table of baselines: which architecture each seed of them has, and at what size."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, cost, largest
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.module import Cost
from supernet.models.cost.scaling import TOLERANCE, UNITS, scaled, with_cost
from supernet.models.cost.targets import limit_on
from supernet.retraining.plan import RetrainingPlan
from supernet.spaces import RIVALS, NetworkSize, SearchSpace, architecture
from supernet.spaces.genotype import Genotype
from supernet.spaces.known import known as published
from supernet.spaces.rivals import RESNET_CIFAR, only_architecture

OF_SPACE = ("random", "largest")
"""Those networks that are architectures of the found one's space, by name."""

NETWORKS = (*RIVALS, "DARTS_V2", *OF_SPACE)
"""What a found network is compared with by default, by name; further published architectures may be added by theirs."""

NEAR = 0.1  # the largest difference of a random architecture's cost from the found one's, as a share
_DRAWS = 2_000  # random architectures of which the first within this is taken, or the nearest


@dataclass(frozen=True)
class Rival:
    """A row of the table: its name, that of its run folders, and the architecture of each seed.

    `space_name` is the name that leads back to `space`. `told` says what the row does not keep to, if anything.
    """

    label: str
    folder: str
    genotype: Callable[[int], Genotype]
    network_size: NetworkSize
    space: SearchSpace
    space_name: str
    told: str = ""


def of_found(
    plan: RetrainingPlan, budget: Mapping[str, int], seeds: Sequence[int], networks: Collection[str]
) -> tuple[list[Rival], list[str]]:
    """Return the found network, a random architecture of its space for each seed, and the largest one, if another.

    The last two are returned if `networks` has them. Returned with the rivals is what is left out, and why.
    """
    home, size, found = plan.space, plan.network_size, plan.genotype
    costs, draw = OperationCosts(home, size), _draw(home, size, budget)

    def of_space(label: str, folder: str, genotype: Callable[[int], Genotype], told: str = "") -> Rival:
        return Rival(label, folder, genotype, size, home, plan.space_name, told)

    rivals, left_out = [of_space("found", "found", _always(found))], list[str]()
    wanted = seeds if home.size > 1 and "random" in networks else ()
    others = {seed: near(costs, draw, found, budget, random.Random(seed)) for seed in wanted}
    drawn = {seed: other for seed, other in others.items() if other is not None}
    if len(drawn) < len(others):
        left_out.append(f"random is left out: no other architecture was drawn that costs at most {100 * NEAR:g} % more")
    elif drawn:
        far = max(_furthest(cost(home, other, size), budget) for other in drawn.values())
        told = (
            f"no random architecture of {_DRAWS:,} is within {100 * NEAR:g} % of the cost: "
            f"one differs by {100 * far:.0f} %"
        )
        rivals.append(of_space("random", "random", drawn.__getitem__, told if far > NEAR else ""))
    if "largest" in networks and (most := largest(home)) != found:
        rivals.append(of_space("largest", "largest", _always(most)))
    return rivals, left_out


def _draw(home: SearchSpace, size: NetworkSize, budget: Mapping[str, int]) -> Callable[[random.Random], Genotype]:
    """Return how architectures are drawn: uniformly, if they can be counted those that cost at most 10 % too much.

    Of a budget of two parts it is the first that counts.
    """
    if not home.has_additive_cost:
        return home.sample
    name, wanted = next(iter(budget.items()))
    return FeasibleSet(home, size, limit_on(name, (1 + NEAR) * wanted)).sample


def near(
    costs: OperationCosts,
    draw: Callable[[random.Random], Genotype],
    found: Genotype,
    budget: Mapping[str, int],
    rng: random.Random,
) -> Genotype | None:
    """Draw architectures until one, not `found`, costs what the budget says, to 10 %; return it, or the nearest.

    None if `found` alone was drawn.
    """
    best, least = None, float("inf")
    for _ in range(_DRAWS):
        drawn = draw(rng)
        if drawn != found and (far := _furthest(costs.total(drawn), budget)) < least:
            best, least = drawn, far
            if far <= NEAR:
                break
    return best


def _furthest(price: Cost, budget: Mapping[str, int]) -> float:
    """Return the largest difference of a cost from the budget, as a share."""
    return max(abs(int(getattr(price, name)) / wanted - 1) for name, wanted in budget.items())


def _always(genotype: Genotype) -> Callable[[int], Genotype]:
    """Return the choice of this architecture for every seed."""
    return lambda _: genotype


def known(
    budget: Mapping[str, int], network_size: NetworkSize, networks: Collection[str]
) -> tuple[list[Rival], list[str]]:
    """Return those of `networks` that are known without search, each scaled to each part of the budget.

    A published cell has the depth of `network_size`, which is the found one's; the depth of the others goes with the
    cost. All have the width that is nearest to it, for at few channels a cost met to 2 % would take an odd depth.
    Returned with the rivals is what is left out, and why. Images, channels and classes are those of `network_size`.
    """
    images = replace(network_size, stem=None, reductions=None)
    chosen = _architectures(networks)
    rivals, left_out = list[Rival](), list[str]()
    if RESNET_CIFAR.name in chosen and images.halvings > 1:
        del chosen[RESNET_CIFAR.name]
        left_out.append(f"{RESNET_CIFAR.name} is left out: it is made for images of up to 64 pixels")
    for part, wanted in budget.items():
        for name, (space, genotype) in chosen.items():
            to_cost = scaled if name in RIVALS else with_cost
            try:
                size = to_cost(space, genotype, images, part, wanted)
            except UserError as error:
                left_out.append(str(error) if name in RIVALS else f"{name} is left out: {error}")
                continue
            has = getattr(cost(space, genotype, size), part)
            off = f"no width of {name} has {wanted:,} {UNITS[part]} to {100 * TOLERANCE:g} %: the nearest has {has:,}"
            told = off if abs(has / wanted - 1) > TOLERANCE else ""
            label, folder = f"{name}, same {UNITS[part]}", f"{name}-{part}"
            rivals.append(Rival(label, folder, _always(genotype), size, space, space.name, told))
    return rivals, left_out


def _architectures(networks: Collection[str]) -> dict[str, tuple[SearchSpace, Genotype]]:
    """Return the space and the architecture of those of `networks` that are known without search, by name."""
    own = {name: space for name, space in RIVALS.items() if name in networks}
    chosen = {name: (space, only_architecture(space)) for name, space in own.items()}
    return chosen | {name: architecture(name) for name in networks if name in published()}
