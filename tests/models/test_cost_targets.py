"""Targets: which costs have a penalty, its gradient, and what the multipliers do from epoch to epoch."""

from __future__ import annotations

import math
import random

import pytest
import torch

from supernet.models.cost.count import OperationCosts, cost
from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import Limits
from supernet.models.cost.options import negative
from supernet.models.cost.targets import Targets, named
from supernet.models.mix import EdgeMix, dense, sparse
from supernet.spaces import NetworkSize, space
from supernet.testing import macro_space, ragged_space

NB201 = space("nasbench201")
FRAME = NetworkSize(width=3, depth=1, image_size=(8, 8), channels=1, classes=3)
HOMES = {home.name: home for home in (ragged_space(), macro_space(), NB201)}
each_space = pytest.mark.parametrize("home", HOMES.values(), ids=HOMES)


def alphas(home, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    drawn = {kind: torch.randn(shape, generator=generator, dtype=torch.float64) for kind, shape in shapes.items()}
    return {kind: (scale * alpha).requires_grad_() for kind, alpha in drawn.items()}


def mix(values):
    return dense({kind: alpha.sigmoid() for kind, alpha in values.items()})


def rows(values):
    return {kind: alpha.detach().sigmoid() for kind, alpha in values.items()}


def derived(home, values):
    return home.derive({kind: alpha.tolist() for kind, alpha in values.items()})


def params(home):
    return Expected(FeasibleSet(home, FRAME), "params")


def made(home, most=1, epochs=4):
    return Targets(FeasibleSet(home, FRAME), Limits(max_params=most), epochs)


@each_space
def test_the_penalty_is_the_log_of_the_expected_cost_times_its_multiplier(home):
    values = alphas(home)
    assert made(home)(mix(values)).item() == pytest.approx(0.01 * float(params(home)(rows(values)).log()))

    def function(*given):
        return 100 * made(home)(mix(dict(zip(values, given, strict=True))))

    assert torch.autograd.gradcheck(function, list(values.values()))


@each_space
def test_a_network_within_its_target_is_free(home):
    values = alphas(home)
    cost = int(params(home).of(derived(home, values)))
    assert params(home).derived(rows(values), 0.02) == cost  # no other operation is as near
    assert made(home, most=cost - 1)(mix(values)) > 0
    free = made(home, most=cost)(mix(values))
    assert free == 0
    for gradient in torch.autograd.grad(free, list(values.values()), materialize_grads=True):
        assert not gradient.any()


def test_a_multiplier_rises_with_the_excess_after_epochs_in_which_alpha_learns():
    values = alphas(NB201)
    genotype = derived(NB201, values)
    cost = params(NB201).of(genotype)
    target = round(cost / 1.5)
    targets, resumed = (made(NB201, most=target, epochs=20) for _ in range(2))
    found = targets.follow(rows(values), genotype)["params"]
    assert found["multiplier"] == 0.01  # alpha has not learned
    assert (found["target"], found["network"]) == (target, cost)
    assert found["expected"] == pytest.approx(float(params(NB201)(rows(values))))
    for epoch in (1, 2):
        targets(mix(values))
        found = targets.follow(rows(values), genotype)["params"]
        assert found["multiplier"] == pytest.approx(0.01 * (cost / target) ** (2 * epoch))
    targets(mix(values))
    resumed.load_state_dict(targets.state_dict())
    for each in (targets, resumed, targets, resumed):
        each.follow(rows(values), genotype)  # the epoch that has begun counts once
    assert targets.state_dict() == resumed.state_dict()
    assert targets.multipliers["params"] == pytest.approx(0.01 * (cost / target) ** 6)
    for _ in range(99):
        targets(mix(values))
        targets.follow(rows(values), genotype)
    assert targets.multipliers == {"params": 10.0}


@pytest.mark.parametrize("home", [*HOMES.values(), space("darts7-fair")], ids=lambda home: home.name)
def test_an_architecture_alone_has_a_penalty_above_its_target_only(home):
    rng = random.Random(0)
    for _ in range(10):
        genotype = home.sample(rng)
        most = cost(home, genotype, FRAME).params
        only = sparse(home.columns(genotype), {kind: cell.columns for kind, cell in home.cells.items()})
        assert made(home, most=most).excess(only) == 0
        targets = made(home, most=1 + most // 3)
        targets.multipliers["params"] = 7.0
        assert targets.excess(only) == pytest.approx(7 * math.log(most / (1 + most // 3)), rel=1e-5)
        assert targets.state_dict()["used"]


def test_a_toy_search_comes_down_to_its_target_and_no_further():
    """The loss wants what costs most."""
    prices, values = params(NB201), {"cell": alphas(NB201, 2, 0.01)["cell"].detach().requires_grad_()}
    costs = OperationCosts(NB201, FRAME).per_operation("params")
    least, most = (prices.of(NB201.derive(some)) for some in (negative(costs), costs))
    target, found = int((least + most) / 2), list[float]()
    targets, optimizer = made(NB201, most=target, epochs=20), torch.optim.SGD(values.values(), lr=1.0)
    for _ in range(20):
        for _ in range(10):
            optimizer.zero_grad()
            loss = -0.05 * prices({"cell": values["cell"].sigmoid()}).log()
            (loss + targets(mix(values))).backward()
            optimizer.step()
        found.append(targets.follow(rows(values), derived(NB201, values))["params"]["network"])
    assert max(found) > target  # before the multiplier has risen
    assert least < found[-1] <= target


def test_a_multiplier_rises_by_a_least_factor():
    values = alphas(NB201)
    genotype = derived(NB201, values)
    targets = made(NB201, most=int(params(NB201).of(genotype)) - 1, epochs=20)
    targets(mix(values))
    assert targets.follow(rows(values), genotype)["params"]["multiplier"] == pytest.approx(0.01 * 1.25**2)


def test_a_network_without_a_latency_in_the_table_is_above_every_target():
    targets = Targets(FeasibleSet(NB201, FRAME), Limits(max_latency_ms=1e6, latency="latency_edgetpu_ms"), 20)
    kinds = {
        name: {"cell": torch.nn.functional.one_hot(torch.tensor(columns), 5).double()}
        for name, columns in (("there", [3, 3, 3, 3, 3, 3]), ("missing", [4, 2, 1, 2, 1, 1]))
    }
    genotypes = {name: derived(NB201, weights) for name, weights in kinds.items()}
    costs = {
        name: Expected(FeasibleSet(NB201, FRAME), "latency_edgetpu_ms").of(each) for name, each in genotypes.items()
    }
    assert [math.isnan(each) for each in costs.values()] == [False, True]
    for name, factor in (("there", 1.0), ("missing", 1.25**2)):
        before = targets.multipliers["latency_edgetpu_ms"]
        penalty = targets(dense(kinds[name]))
        only = sparse(NB201.columns(genotypes[name]), {"cell": 5})
        assert math.isfinite(penalty)
        assert bool(penalty) == (name == "missing")
        assert targets.excess(only) == pytest.approx(before * math.log(1.25) if name == "missing" else 0)
        found = targets.follow(kinds[name], genotypes[name])["latency_edgetpu_ms"]
        assert found["network"] == (None if name == "missing" else costs[name])
        assert found["multiplier"] == pytest.approx(before * factor)


def test_a_narrower_space_has_the_same_multipliers():
    targets = made(NB201)
    narrower = targets.within(NB201.narrowed({"cell": [[0, 1], [1, 2], [0, 3], [2, 4], [3, 4], [1, 4]]}))
    assert narrower(dense({"cell": torch.full((6, 2), 0.5)})) > 0
    targets.follow(rows(alphas(NB201)), derived(NB201, alphas(NB201)))
    assert narrower.multipliers == targets.multipliers == {"params": 10.0}


def test_what_a_measured_latency_has_beside_its_operations_counts_from_the_second_epoch(monkeypatch):
    monkeypatch.setattr(MeasuredLatency, "_timed", lambda self, build, shape: 1.0)
    monkeypatch.setattr(MeasuredLatency, "ms", lambda self, genotype: 100.0)
    values = alphas(NB201)
    targets = Targets(FeasibleSet(NB201, FRAME), Limits(max_latency_ms=50.0), 4)
    assert targets(mix(values)) == 0  # six operations in three cells take 18 ms at most
    only = sparse(NB201.columns(derived(NB201, values)), {"cell": 5})
    assert targets.excess(only) == 0
    assert targets.follow(rows(values), derived(NB201, values))["latency"]["network"] == 100
    assert targets(mix(values)) > 0
    assert targets.excess(only) == pytest.approx(targets.multipliers["latency"] * math.log(2))


def test_each_cost_has_its_name():
    assert named(Limits(5, 6, 7.0, "latency_pixel3_ms")) == {"params": 5, "flops": 6, "latency_pixel3_ms": 7}
    assert named(Limits(max_latency_ms=7.0)) == {"latency": 7}


def test_the_network_is_the_one_that_the_weights_of_edges_lead_to():
    home = space("s2")  # skip connections and separable convolutions, and the two best edges of each node
    odd = {kind: torch.arange(len(cell.edges)) % 2 for kind, cell in home.cells.items()}
    skips, convs = torch.tensor([0.9, 0.1]), torch.tensor([0.4, 0.6])
    weights = {kind: torch.where(rest[:, None] == 1, convs, skips) for kind, rest in odd.items()}
    mixed = {kind: EdgeMix(weights[kind], edges=0.1 + 0.8 * rest) for kind, rest in odd.items()}
    products = {kind: edges.products for kind, edges in mixed.items()}
    alone, found = (int(params(home).of(derived(home, each))) for each in (weights, products))
    assert alone < found
    between = (alone + found) // 2
    assert made(home, most=between)(dense(weights)) == 0
    assert made(home, most=between)(mixed) > 0


def test_a_network_that_takes_no_time_has_a_finite_penalty_and_gradient(monkeypatch):
    monkeypatch.setattr(MeasuredLatency, "_timed", lambda self, build, shape: 1.0)
    targets = Targets(FeasibleSet(NB201, FRAME), Limits(max_latency_ms=5.0), 4)
    weights = torch.zeros(6, 5, dtype=torch.float64)
    weights[:, NB201.cells["cell"].edges[0].ops.index("none")] = 1
    penalty = targets(dense({"cell": weights.requires_grad_()}))
    assert penalty == 0
    assert not torch.autograd.grad(penalty, weights)[0].any()
