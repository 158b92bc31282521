"""The random architectures of a table of baselines cost as much as the found one, in every space."""

from __future__ import annotations

import random
from typing import Any

import pytest

from supernet.models.cost.count import cost
from supernet.retraining.config import configured
from supernet.retraining.plan import plan
from supernet.searching.baselines.rivals import NEAR, of_found
from supernet.spaces import space


@pytest.mark.parametrize("name", ["mobile", "darts", "nao", "nasbench201"])
@pytest.mark.parametrize("parts", [["flops"], ["flops", "params"]])
def test_random_architectures_cost_as_much_as_the_found_one(name: str, parts: list[str]) -> None:
    home: Any = space(name)
    found = min((home.sample(random.Random(seed)) for seed in range(5)), key=lambda g: len(str(g)))
    planned = plan(configured(found, "quick", data="digits", space=name, width=4, depth=1))
    budget = {part: getattr(planned.price, part) for part in parts}
    (_, rival) = of_found(planned, budget, range(3), ["random"])
    drawn = [rival.genotype(seed) for seed in range(3)]
    assert len({found, *drawn}) == 4
    assert rival.told == ""
    for genotype in drawn:
        price = cost(home, genotype, planned.network_size)
        assert all(abs(getattr(price, part) / wanted - 1) <= NEAR for part, wanted in budget.items())


def test_a_random_architecture_is_found_near_the_smallest_of_a_large_space() -> None:
    home = space("mobile")
    first = [["mb1_k3"], *[["mb3_k3"] + 3 * ["skip_connect"]] * 5, ["mb3_k5"]]
    columns = {
        kind: [edge.ops.index(op) for edge, op in zip(cell.edges, ops, strict=True)]
        for (kind, cell), ops in zip(home.cells.items(), first, strict=True)
    }
    planned = plan(configured(home.choose(columns), "quick", data="digits", space="mobile", width=4, depth=1))
    (_, rival) = of_found(planned, {"flops": planned.price.flops}, [0], ["random"])
    price = cost(home, rival.genotype(0), planned.network_size)
    assert price.flops == pytest.approx(planned.price.flops, rel=NEAR)
