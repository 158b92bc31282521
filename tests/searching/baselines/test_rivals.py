"""The random architectures of a table of baselines cost as much as the found one, in every space."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from supernet.models.cost.count import cost
from supernet.retraining.config import configured
from supernet.retraining.plan import plan
from supernet.searching.baselines import rows, table
from supernet.searching.baselines.call import Start, Which, asked
from supernet.searching.baselines.rivals import NEAR, NETWORKS, of_found
from supernet.searching.baselines.run import Asked, Trainings
from supernet.spaces import Cell, Edge, SearchSpace, Stages, space


@pytest.mark.parametrize("name", ["mobile", "darts", "nao", "nasbench201"])
@pytest.mark.parametrize("parts", [["flops"], ["flops", "params"]])
def test_random_architectures_cost_as_much_as_the_found_one(name: str, parts: list[str]) -> None:
    home: Any = space(name)
    found = min((home.sample(random.Random(seed)) for seed in range(5)), key=lambda g: len(str(g)))
    planned = plan(configured(found, "quick", data="digits", space=name, width=4, depth=1))
    budget = {part: getattr(planned.price, part) for part in parts}
    (_, rival), _ = of_found(planned, budget, range(3), ["random"])
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
    (_, rival), _ = of_found(planned, {"flops": planned.price.flops}, [0], ["random"])
    price = cost(home, rival.genotype(0), planned.network_size)
    assert price.flops == pytest.approx(planned.price.flops, rel=NEAR)


def test_random_is_left_out_where_no_other_architecture_is_drawn(tmp_path: Path) -> None:
    pair = Cell((Edge(1, 0, ("skip_connect", "nor_conv_3x3")),))
    home = SearchSpace("pair", {"cell": pair}, Stages(("cell",)))
    skip, conv = (home.choose({"cell": [column]}) for column in (0, 1))
    for found, others, reasons in (
        (skip, [], ["random is left out: no other architecture was drawn that costs at most 10 % more"]),
        (conv, ["random"], []),
    ):
        planned = plan(configured(found, "quick", data="digits", space=home, width=16, depth=1))
        budget = {part: getattr(planned.price, part) for part in ("flops", "params")}
        rivals, left_out = of_found(planned, budget, range(3), ["random"])
        assert [rival.label for rival in rivals] == ["found", *others]
        assert left_out == reasons
        assert {rival.genotype(seed) for rival in rivals[1:] for seed in range(3)} <= {skip}
        wanted = Asked(planned, (0, 1, 2), budget, found, ["random"])
        assert [text for text in Trainings(tmp_path, wanted).told if "left out" in text] == reasons


@pytest.mark.parametrize(
    ("networks", "told"),
    [(NETWORKS, ()), ("resnet,random", ("random is left out: it is an architecture of the space of --like RUN",))],
)
def test_without_a_space_what_was_asked_for_of_it_is_said_to_be_left_out(
    networks: str | tuple[str, ...], told: tuple[str, ...]
) -> None:
    start, which = Start.of(None, None, ("digits",)), Which("0", networks, flops="1M")
    config = configured("", "quick", data="digits")
    assert asked(config, start, None, which, ("data",)).told == told


def test_the_time_of_random_is_the_mean_over_its_architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "latency", lambda network, _: SimpleNamespace(median=count(network)))
    monkeypatch.setattr(rows, "trained", lambda run: run)
    planned = plan(configured(space("nasbench201").sample(random.Random(1)), "quick", data="digits", width=4, depth=1))
    asked = Asked(planned, (0, 1, 2), {"flops": planned.price.flops}, planned.genotype, ["random"])
    trainings, runs = Trainings(tmp_path, asked), dict.fromkeys(range(3), SimpleNamespace(accuracy=1.0))
    found, other = (rows._row(trainings, rival, runs) for rival in trainings.rivals)
    drawn = [cost(planned.space, trainings.rivals[1].genotype(seed), planned.network_size).params for seed in range(3)]
    assert len(set(drawn)) > 1
    assert other.ms == pytest.approx(sum(drawn) / 3)
    assert found.ms == planned.price.params


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("folders", "far", "told"),
    [
        (["found", "resnet-flops"], "", ["Same: as near as whole channels come"]),
        (
            ["found", "largest", "random"],
            "",
            ["Random: an architecture of the space for each seed, of the same cost to"],
        ),
        (["random"], "one differs by 20 %", ["Random: an architecture of the space for each seed."]),
        (["found", "largest"], "", []),
    ],
)
def test_the_notes_are_on_the_networks_of_the_table(folders: list[str], far: str, told: list[str]) -> None:
    every = ("found", "random", "largest", "resnet-flops")
    rivals = [SimpleNamespace(label=name, folder=name, told=far) for name in every]
    runs: Any = {name: {0: None} if name in folders else {} for name in every}
    trainings: Any = SimpleNamespace(rivals=rivals)
    found = table._kinds(trainings, runs)
    assert [text[: len(start)] for text, start in zip(found, told, strict=True)] == told
