"""Limits: the best architecture within them against every architecture there is, and searches that keep to them."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch

from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost import draws, knapsack
from supernet.models.cost.count import cost
from supernet.models.cost.draws import Draws
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import Limits, parse_count
from supernet.models.cost.options import OptionGroups
from supernet.searching.plan import planned as plan
from supernet.searching.search import search
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stack, Stages, space, tables
from supernet.spaces.operations import Primitive
from supernet.spaces.paths import is_wasteful
from supernet.testing import PairDataset, macro_space, ragged_space, tiny_images

NB201, TABLE = space("nasbench201"), tables.load("nasbench201")
OPS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
KEEPS = SearchSpace(  # small enough to list
    "keeps",
    {
        "normal": Cell.dense(4, OPS[:3], inputs=2, output="concat", keep=2, project=True),
        "reduce": Cell.dense(3, OPS[1:], inputs=2, output="concat", keep=1, project=True),
    },
    Stack(),
)
FEWER = SearchSpace(  # nodes may keep fewer edges, or none
    "fewer",
    {
        "normal": Cell.dense(4, OPS[:3], inputs=2, output="concat", keep=(0, 2), project=True),
        "reduce": Cell.dense(3, OPS[2:], inputs=2, output="concat", keep=(0, 1), project=True),
    },
    Stack(),
)
LISTED = {home.name: home for home in (ragged_space(), KEEPS, FEWER, macro_space())}
FRAME = NetworkSize(width=3, depth=1, image_size=(8, 8), channels=1, classes=3)
each_space = pytest.mark.parametrize("home", LISTED.values(), ids=LISTED)


@cache
def everything(name):
    """Every architecture of a space, drawn until there is no other, with its cost."""
    home, rng = LISTED[name], random.Random(0)
    found = set()
    while len(found) < home.size:
        found.add(home.sample(rng))
    return {genotype: cost(home, genotype, FRAME) for genotype in sorted(found, key=str)}


def strengths(home, seed, levels=None):
    """Random strengths, as softmax might leave them; with few levels there are ties."""
    rng = np.random.default_rng(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    draw = rng.standard_normal if levels is None else lambda shape: rng.integers(levels, size=shape) / 4
    return {kind: draw(shape).astype(np.float32).tolist() for kind, shape in shapes.items()}


def total(home, genotype, strength):
    """The sum of the strengths of an architecture's operations, without rounding."""
    return sum(Fraction(strength[kind][edge][column]) for kind, edge, column in operations(home, genotype))


def operations(home, genotype):
    """Kind of cell, edge and column of each operation of an architecture."""
    columns = home.columns(genotype).items()
    return [(kind, edge, column) for kind, row in columns for edge, column in enumerate(row) if column is not None]


@cache
def everythings_operations(name):
    return {genotype: operations(LISTED[name], genotype) for genotype in everything(name)}


def totals(home, strength):
    """The sums of all architectures, in units of 2**-149, in which every float32 is a whole number."""
    whole = {
        kind: [[int(Fraction(value) * 2**149) for value in row] for row in rows] for kind, rows in strength.items()
    }
    return {g: sum(whole[k][e][c] for k, e, c in taken) for g, taken in everythings_operations(home.name).items()}


@cache
def all_sound(name):
    """Every architecture of a space in which nothing is wasted."""
    return {genotype for genotype in everything(name) if sound(LISTED[name], genotype)}


def sound(home, genotype):
    """Whether in every cell there is a path, and every operation with weights lies on one; by following all paths."""
    return all(_sound(home, cell, genotype[kind]) for kind, cell in home.cells.items())


def _sound(home, cell, choices):
    carrying = [c for c in choices if not home.primitive(c.op).zero]
    outputs = range(cell.inputs, cell.nodes) if cell.output == "concat" else [cell.nodes - 1]
    seen = set()

    def follow(node, path):
        if node < cell.inputs:
            seen.update(path)
        for choice in carrying:
            if choice.target == node:
                follow(choice.source, [*path, choice])

    for node in outputs:
        follow(node, [])
    return bool(seen) and all(c in seen for c in carrying if home.primitive(c.op).learned)


@cache
def groups_of(name, **given):
    return OptionGroups({**LISTED, "nasbench201": NB201}[name], **given)


@pytest.fixture(autouse=True)
def groups_made_once(monkeypatch):
    """The groups of a space are the same for all limits, and take a while to make."""
    once = {"nasbench201", *LISTED}
    monkeypatch.setattr(
        "supernet.models.cost.feasible.OptionGroups",
        lambda home, **given: groups_of(home.name, **given) if home.name in once else OptionGroups(home, **given),
    )


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Most of the time of a small search goes into its pictures."""
    monkeypatch.setattr("supernet.searching.results._pictures", lambda *given: None)


def between(values, rng):
    """A limit between the smallest and the largest of the values, either included."""
    return rng.randint(min(values), max(values))


# --- the knapsack


@pytest.mark.parametrize(("widths", "pivots"), [((500, None), 256), ((1, None), 3), ((2, 5, None), 1)])
def test_the_knapsack_finds_what_trying_everything_finds(widths, pivots, monkeypatch):
    monkeypatch.setattr(knapsack, "_WIDTHS", widths)
    monkeypatch.setattr(knapsack, "_PIVOTS", pivots)
    rng, solved = np.random.default_rng(0), 0
    for _ in range(200):
        sizes, kinds = rng.integers(1, 5, rng.integers(1, 6)), rng.integers(0, 4)
        largest = rng.choice([3, 1000, 2**50])
        gains = [rng.integers(-largest, largest, size) for size in sizes]
        costs = [rng.integers(0, rng.choice([3, 10**9]), (size, kinds)) for size in sizes]
        limits = (np.sum([cost.max(0) for cost in costs], axis=0) * rng.uniform(0.3, 1, kinds)).astype(np.int64)
        choices = list(itertools.product(*map(range, sizes)))
        within = [c for c in choices if (sum(cost[o] for cost, o in zip(costs, c, strict=True)) <= limits).all()]
        worth = [sum(int(gain[o]) for gain, o in zip(gains, c, strict=True)) for c in within]
        found = knapsack.solve(gains, costs, limits)
        if found is None:
            assert not within
        else:
            assert worth[within.index(tuple(found))] == max(worth)
            solved += 1
    assert solved > 100


@each_space
def test_what_wastes_an_operation_is_what_no_path_leads_over(home):
    cells = home.cells.items()
    frugal = {g for g in everything(home.name) if not any(is_wasteful(home, cell, g[kind]) for kind, cell in cells)}
    assert frugal == all_sound(home.name)


def test_a_single_edge_that_may_be_left_out_is_not_where_an_operation_costs_nothing():
    edge = Edge(1, 0, ("nor_conv_3x3", "skip_connect"))
    home = SearchSpace("one", {"cell": Cell((edge,), output="concat", keep=(0, 1))}, Stages(("cell",)))
    costs = {str(g): cost(home, g, FRAME).params for g in (home.choose({"cell": [k]}) for k in (0, 1))}
    skip = home.choose({"cell": [1]})
    within = FeasibleSet(home, FRAME, Limits(max_params=min(costs.values())))
    assert within.smallest == skip
    assert within.best({"cell": [[3.0, -1.0]]}) == skip


# --- the best within limits


@each_space
def test_without_limits_the_best_is_what_the_space_derives_and_no_sum_is_larger(home):
    for seed in range(6):
        strength = strengths(home, seed, levels=None if seed % 2 else 3)
        best, sums = FeasibleSet(home, FRAME).best(strength), totals(home, strength)
        assert best == home.derive(strength)
        assert sums[best] == max(sums.values())


@each_space
@pytest.mark.parametrize("names", [("params",), ("flops",), ("params", "flops")], ids=" and ".join)
def test_the_best_within_limits_is_the_best_of_all_that_are(home, names):
    costs, rng, bound = everything(home.name), random.Random(1), 0
    for seed in range(24):
        strength = strengths(home, seed, levels=3 if seed % 3 == 0 else None)
        given = {name: between([getattr(c, name) for c in costs.values()], rng) for name in names}
        within = [g for g, c in costs.items() if all(getattr(c, name) <= given[name] for name in names)]
        feasible = FeasibleSet(home, FRAME, Limits(**{f"max_{name}": limit for name, limit in given.items()}))
        assert [g for g in costs if feasible.allows(g)] == within
        of_use = [g for g in within if g in all_sound(home.name)]
        if not of_use:
            with pytest.raises(UserError, match=r"^no architecture of space '\w+' \(3 channels, depth 1\) is within "):
                feasible.check()
            continue
        feasible.check()
        best, derived = feasible.best(strength), home.derive(strength)
        if derived in within:
            assert best == derived
            continue
        bound += 1
        sums = totals(home, strength)
        most = max(sums[g] for g in of_use)
        equal = [[getattr(costs[g], name) for name in names] for g in of_use if sums[g] == most]
        assert best in of_use
        assert sums[best] == most
        assert [getattr(costs[best], name) for name in names] == min(equal)  # among equals the smaller wins
        if bound == 6:
            break
    assert bound >= 4


@cache
def columns_of_the_table():
    ops = NB201.cells["cell"].edges[0].ops
    return np.array([[ops.index(c.op) for c in TABLE.genotype(i)["cell"]] for i in range(len(TABLE))])


@cache
def of_use_in_the_table():
    return np.array([sound(NB201, TABLE.genotype(i)) for i in range(len(TABLE))])


def summed(strength):
    return np.array(strength["cell"])[np.arange(6), columns_of_the_table()].sum(1)


@pytest.mark.parametrize("names", [("params",), ("flops",), ("params", "flops")], ids=" and ".join)
def test_on_nasbench201_it_is_the_best_of_the_15625(names):
    for seed in range(10):
        strength, rng = strengths(NB201, seed), np.random.default_rng(seed)
        limits = {n: int(1e6 * np.quantile(TABLE.column(f"c10_{n}_m"), rng.uniform(0.02, 0.5))) for n in names}
        within = np.logical_and.reduce([np.rint(TABLE.column(f"c10_{n}_m") * 1e6) <= limits[n] for n in names])
        feasible = FeasibleSet(NB201, NetworkSize(), Limits(**{f"max_{n}": limit for n, limit in limits.items()}))
        if TABLE.index(NB201.derive(strength)) not in np.flatnonzero(within):
            within &= of_use_in_the_table()
        best = TABLE.index(feasible.best(strength))
        assert within[best]
        assert summed(strength)[best] == pytest.approx(summed(strength)[within].max(), abs=1e-12)


@pytest.mark.slow
def test_a_tabulated_latency_with_and_without_other_limits():
    for seed, field in enumerate(("latency_raspi4_ms", "latency_fpga_ms", "latency_titanx_b1_ms")):
        strength, ms, params = strengths(NB201, seed), TABLE.column(field), TABLE.column("c10_params_m") * 1e6
        limit = float(np.nanquantile(ms, 0.2))
        for most in (None, 400_000):
            within = (ms <= limit) & (np.rint(params) <= (most or math.inf))
            if TABLE.index(NB201.derive(strength)) not in np.flatnonzero(within):
                within &= of_use_in_the_table()
            feasible = FeasibleSet(NB201, NetworkSize(), Limits(max_params=most, max_latency_ms=limit, latency=field))
            best = TABLE.index(feasible.best(strength))
            assert within[best]
            assert feasible.latency.ms(feasible.best(strength)) == ms[best]
            assert summed(strength)[best] == pytest.approx(summed(strength)[within].max(), abs=1e-12)
        fastest = FeasibleSet(NB201, NetworkSize(), Limits(max_latency_ms=limit, latency=field)).smallest
        assert ms[TABLE.index(fastest)] == np.nanmin(ms[of_use_in_the_table()])


def test_an_architecture_whose_latency_the_table_lacks_is_not_allowed():
    field = next(f for f in TABLE.fields if f.startswith("latency_") and np.isnan(TABLE.column(f)).any())
    lacking = TABLE.genotype(int(np.isnan(TABLE.column(field)).argmax()))
    assert not FeasibleSet(NB201, NetworkSize(), Limits(max_latency_ms=1e9, latency=field)).allows(lacking)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_strength_that_is_no_number_is_the_weakest(bad):
    strength = strengths(NB201, 0)
    smallest = cost(NB201, NB201.choose({"cell": [0] * 6}), NetworkSize()).params
    strength["cell"][0][1] = bad
    found = FeasibleSet(NB201, NetworkSize(), Limits(max_params=smallest)).best(strength)  # without any convolution
    strength["cell"][0][1] = -9
    free = (NB201.choose({"cell": columns}) for columns in itertools.product((0, 1, 4), repeat=6))
    assert found == max((g for g in free if sound(NB201, g)), key=lambda g: total(NB201, g, strength))


# --- measured latency


class Clock:
    """A machine on which a pass takes as long as the clock says, and that counts the networks it has run."""

    def __init__(self, monkeypatch, milliseconds):
        self.networks = []

        def timed(measured, build, shape):
            with torch.device("meta"):  # built only to be looked at
                module = build()
            if type(module).__name__ == "Network":
                self.networks.append(module.genotype)
            return milliseconds(module)

        monkeypatch.setattr(MeasuredLatency, "_timed", timed)


def weighed(module):
    """Milliseconds that add up over the operations of a network: as many as it has parameters."""
    return float(sum(p.numel() for p in module.parameters()))


SMALL_FRAME = NetworkSize(4, 1, (8, 8), 1, 3)


def params_between(share, strength):
    """A number of parameters between those of the smallest network and of the strongest."""
    smallest, strongest = NB201.choose({"cell": [0] * 6}), NB201.derive(strength)
    least, most = (cost(NB201, genotype, SMALL_FRAME).params for genotype in (smallest, strongest))
    return round(least + share * (most - least))


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.6, 0.9, 1])
def test_a_measured_latency_finds_the_best_where_latencies_add_up(share, monkeypatch):
    clock = Clock(monkeypatch, weighed)
    for seed in range(2):
        strength = strengths(NB201, seed)
        limit = params_between(share, strength)
        expected = FeasibleSet(NB201, SMALL_FRAME, Limits(max_params=limit)).best(strength)
        feasible = FeasibleSet(NB201, SMALL_FRAME, Limits(max_latency_ms=limit))
        clock.networks.clear()
        best = feasible.best(strength)
        assert total(NB201, best, strength) == total(NB201, expected, strength)
        assert best in clock.networks
        assert feasible.measured[str(best)] <= limit
        assert len(clock.networks) == len(set(clock.networks)) <= 17


def test_several_limits_with_a_measured_one_are_all_kept(monkeypatch):
    Clock(monkeypatch, weighed)
    strength = strengths(NB201, 5)
    derived = cost(NB201, NB201.derive(strength), SMALL_FRAME)
    limits = Limits(int(derived.params * 0.9), int(derived.flops * 0.9), params_between(0.5, strength))
    feasible = FeasibleSet(NB201, SMALL_FRAME, limits)
    best = feasible.best(strength)
    found = cost(NB201, best, SMALL_FRAME)
    assert found.params <= limits.max_params
    assert found.flops <= limits.max_flops
    assert feasible.latency.ms(best) <= limits.max_latency_ms
    assert feasible.unmeasured.limits == Limits(limits.max_params, limits.max_flops)
    assert feasible.unmeasured.unmeasured is feasible.unmeasured


def test_a_machine_on_which_nothing_adds_up_still_gives_what_was_measured_within(monkeypatch):
    clock = Clock(monkeypatch, lambda module: 5 + hash(str(getattr(module, "genotype", 0))) % 7)
    for limit in (5.5, 7.5, 9.5):
        feasible = FeasibleSet(NB201, SMALL_FRAME, Limits(max_latency_ms=limit))
        try:
            best = feasible.best(strengths(NB201, 2))
        except UserError as error:
            assert "the fastest takes" in str(error)  # noqa: PT017
        else:
            assert feasible.measured[str(best)] <= limit
            assert best in clock.networks


def test_a_real_measurement_is_made_once_and_leaves_the_random_numbers_alone():
    feasible = FeasibleSet(NB201, NetworkSize(2, 1, (8, 8), 1, 3), Limits(max_latency_ms=1e6))
    state = torch.get_rng_state()
    genotype = TABLE.genotype(9930)
    assert 0 < feasible.latency.ms(genotype) < 1e6
    assert feasible.latency.ms(genotype) == feasible.latency.ms(genotype)
    alone = feasible.latency.per_operation["cell"]
    assert all(row[0] == 0 < row[3] for row in alone)
    assert torch.equal(torch.get_rng_state(), state)
    assert "measured on" in feasible.latency.source
    assert "one image" in feasible.latency.source


# --- drawing


def test_draws_without_limits_are_the_spaces_own():
    for home in LISTED.values():
        ours, theirs = random.Random(3), random.Random(3)
        assert [FeasibleSet(home, FRAME).sample(ours) for _ in range(5)] == [home.sample(theirs) for _ in range(5)]


def assert_uniform(drawn, within, times):
    counts = Counter(drawn)
    assert set(counts) <= set(within)
    chi = sum((counts[each] - times) ** 2 / times for each in within)
    assert chi < len(within) + 5 * math.sqrt(2 * len(within))


@pytest.mark.parametrize("units", [1, 7, 4096])
def test_draws_of_options_are_uniform_among_those_within_the_limit(units, monkeypatch):
    monkeypatch.setattr(draws, "_UNITS", units)
    rng = np.random.default_rng(0)
    for _ in range(5):
        costs = [rng.integers(0, 50, size) for size in (3, 1, 4, 2)]
        limit = int(sum(cost.min() for cost in costs) + rng.integers(0, 40))
        total = {
            c: sum(int(cost[o]) for cost, o in zip(costs, c, strict=True))
            for c in itertools.product(*map(range, (3, 1, 4, 2)))
        }
        within = [choice for choice, sum_ in total.items() if sum_ <= limit]
        ours, given = Draws(costs, limit), random.Random(1)
        drawn = [tuple(ours.draw(given)) for _ in range(round(100 * len(total) * ours.share))]
        assert_uniform([choice for choice in drawn if choice in within], within, 100)
        if units == 4096:  # more than the limit leaves, so nothing is rounded
            assert ours.share == pytest.approx(len(within) / len(total))
            assert set(drawn) <= set(within)
    assert Draws(costs, sum(int(cost.min()) for cost in costs) - 1).share == 0


@each_space
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_draws_within_limits_are_uniform(home, share):
    costs, rng = everything(home.name), random.Random(0)
    limit = sorted(c.params for c in costs.values())[int(share * len(costs))]
    flops = sorted(c.flops for c in costs.values() if c.params <= limit)[-2]
    within = [g for g, c in costs.items() if c.params <= limit and c.flops <= flops]
    feasible, times = FeasibleSet(home, FRAME, Limits(limit, flops)), max(5, 2000 // len(within))
    assert_uniform([feasible.sample(rng) for _ in range(times * len(within))], within, times)


def test_draws_keep_to_the_sums_that_limit_the_set():
    skips = {"cell": [[int(op == "skip_connect") for op in edge.ops] for edge in NB201.cells["cell"].edges]}
    feasible, rng = FeasibleSet(NB201, FRAME).summing(skips, 1), random.Random(0)
    drawn = [sum(choice.op == "skip_connect" for choice in feasible.sample(rng)["cell"]) for _ in range(300)]
    assert set(drawn) == {0, 1}


def test_the_sums_also_limit_a_narrower_space_and_the_set_without_a_measured_latency():
    skips = {"cell": [[int(op == "skip_connect") for op in edge.ops] for edge in NB201.cells["cell"].edges]}
    columns = [k for k, op in enumerate(NB201.cells["cell"].edges[0].ops) if op in ("skip_connect", "nor_conv_3x3")]
    few = FeasibleSet(NB201, FRAME, Limits(max_latency_ms=1e9)).summing(skips, 1)
    home = replace(NB201.narrowed({"cell": [columns[::-1]] * 6}), name="narrower")
    narrower = FeasibleSet(NB201, FRAME).summing(skips, 1).within(home)
    for feasible in (few.unmeasured, narrower):
        ops = feasible.space.cells["cell"].edges[0].ops
        best = feasible.best({"cell": [[float(op == "skip_connect") for op in ops]] * 6})
        assert sum(choice.op == "skip_connect" for choice in best["cell"]) == 1


def test_draws_are_found_where_hardly_any_architecture_is_within_the_limits():
    for name, network_size in (("mobile", NetworkSize(16, 1)), ("darts", NetworkSize(4, 1, (8, 8), 1, 3))):
        home = space(name)
        least = FeasibleSet(home, network_size, Limits(max_params=10**9)).smallest
        limit = round(1.03 * cost(home, least, network_size).params)
        feasible, rng = FeasibleSet(home, network_size, Limits(max_params=limit)), random.Random(0)
        drawn = {feasible.sample(rng) for _ in range(20)}
        assert len(drawn) > 1
        assert all(cost(home, genotype, network_size).params <= limit for genotype in drawn)


def test_draws_that_find_nothing_say_what_the_smallest_is(monkeypatch):
    given = {"latency": "latency_fpga_ms", "max_params": 10**6}
    fastest = planned(max_latency_ms=1e3, **given).feasible
    feasible = planned(max_latency_ms=fastest.latency.ms(fastest.smallest), **given).feasible
    monkeypatch.setattr("supernet.models.cost.feasible._DRAWS", 50)
    with pytest.raises(UserError, match=r"^50 random draws from space 'nasbench201' have found no architecture") as e:
        feasible.sample(random.Random(0))
    assert str(e.value).endswith(str(feasible.smallest))


def test_draws_measure_only_what_may_be_fast(monkeypatch):
    clock, rng, network_size = Clock(monkeypatch, weighed), random.Random(0), SMALL_FRAME
    monkeypatch.setattr("supernet.models.cost.feasible._MEASUREMENTS", 3)
    fixed = cost(NB201, NB201.choose({"cell": [0] * 6}), network_size).params
    limit = cost(NB201, NB201.choose({"cell": [3, 3, 0, 0, 0, 0]}), network_size).params
    feasible = FeasibleSet(NB201, network_size, Limits(max_latency_ms=limit))
    found = 0
    for _ in range(30):
        clock.networks.clear()
        try:
            assert feasible.measured[str(feasible.sample(rng))] <= limit
            found += 1
        except UserError:
            assert all(feasible.latency.ms(genotype) > limit for genotype in clock.networks)
        assert len(clock.networks) <= 3
        assert all(cost(NB201, genotype, network_size).params - fixed <= limit for genotype in clock.networks)
    assert found


# --- limits as they are given


@pytest.mark.parametrize(
    ("given", "number"),
    [(None, None), (7, 7), ("1500", 1500), ("1.5M", 1_500_000), ("300k", 300_000), ("2g", 2 * 10**9), (1e6, 10**6)],
)
def test_counts(given, number):
    assert parse_count("max_params", given) == number


@pytest.mark.parametrize("given", ["", "k", "x", "-5", "-5k", 0, "0.2", "nan", "inf", "1e999", "1.5T", True, "1 2"])
def test_no_counts(given):
    with pytest.raises(UserError, match=r"^max_params takes a number above 0, such as 1500000, 1\.5M or 300k, not '"):
        parse_count("max_params", given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_params": 0}, "max_params must be at least 1, not 0"),
        ({"max_flops": -3}, "max_flops must be at least 1, not -3"),
        ({"max_latency_ms": 0.0}, "max_latency_ms must be above 0, not 0.0"),
        ({"max_latency_ms": math.nan}, "max_latency_ms must be above 0, not nan"),
        ({"max_latency_ms": math.inf}, "max_latency_ms must be above 0, not inf"),
        ({"latency": "latency_fpga_ms"}, "latency 'latency_fpga_ms' limits nothing without max_latency_ms: give it"),
    ],
)
def test_limits_that_are_none(given, said):
    with pytest.raises(UserError) as error:
        Limits(**given)
    assert str(error.value).startswith(said)


def test_limits_in_words():
    assert str(Limits()) == "none"
    assert not Limits()
    given = Limits(1_500_000, 300, 2.5, "latency_fpga_ms")
    assert given
    assert str(given) == "at most 1,500,000 parameters, at most 300 FLOPs, at most 2.5 ms (latency_fpga_ms)"


# --- searches

TINY = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "mirror": False}


def planned(**changes):
    return plan(PairDataset(tiny_images(24)), **TINY | changes)


def test_the_target_is_the_spaces_unless_given_and_limits_stand_in_the_config():
    usual = planned()
    assert usual.target == NetworkSize(16, 5, (8, 8), 1, 3)
    unlimited = {"max_params": None, "max_flops": None, "max_latency_ms": None, "latency": "measured"}
    assert usual.record | unlimited | {"target_width": 16, "target_depth": 5} == usual.record
    given = planned(target_width=4, target_depth=1, max_params="100k", max_flops=10**7)
    assert given.target == NetworkSize(4, 1, (8, 8), 1, 3)
    assert given.network_size == usual.network_size
    limited = unlimited | {"max_params": 100_000, "max_flops": 10**7}
    assert given.record | limited | {"target_width": 4, "target_depth": 1} == given.record


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target_width": 0}, "setting target_width must be at least 1, not 0"),
        ({"target_depth": 1.5}, "setting target_depth takes a whole number, not 1.5"),
        ({"max_latency_ms": "5"}, "setting max_latency_ms takes a number, not '5'"),
        ({"latency": 5}, "setting latency takes text, not 5"),
        ({"max_params": []}, "max_params takes a number above 0"),
        ({"max_params": 10}, "no architecture of space 'nasbench201' (16 channels, depth 5) is within the limits: at "),
        ({"space": ragged_space(), "max_latency_ms": 1, "latency": "latency_fpga_ms"}, "unknown latency 'latency_fpga"),
    ],
)
def test_mistakes(given, said):
    with pytest.raises(UserError) as error:
        planned(**given)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [{"max_params": 50_000}, {"max_params": 10**6, "max_flops": 50_000}])
def test_the_widest_target_that_fits_is_named(limit):
    with pytest.raises(UserError, match=r"\(it fits with target width \d+\): \|none~0\|") as error:
        planned(**limit)
    width = int(re.search(r"width (\d+)", str(error.value))[1])
    assert planned(**limit, target_width=width).feasible.smallest
    with pytest.raises(UserError, match=rf"fits with target width {width}\)"):
        planned(**limit, target_width=width + 1)


def test_what_cannot_be_had_together_says_so():
    smallest = planned(max_params=10**6).feasible.smallest
    params = cost(NB201, smallest, planned().target).params
    with pytest.raises(UserError, match=rf"the smallest with at most {params:,} parameters has [\d,]+ FLOPs: \|none~0"):
        planned(max_params=params, max_flops=5)
    with pytest.raises(UserError, match=r"the fastest with at most .* parameters takes [\d.]+ ms, latency_fpga_ms of "):
        planned(max_params=params, max_latency_ms=1e-9, latency="latency_fpga_ms")
    with pytest.raises(UserError, match=r"the fastest takes [\d.e-]+ ms, measured on .*, one image: \|none~0"):
        planned(max_latency_ms=1e-9)


@pytest.mark.parametrize("method", ["single-darts", "random"])
@pytest.mark.parametrize("name", LISTED)
def test_a_search_names_only_architectures_within_its_limits(method, name, tmp_path):
    home, target = LISTED[name], {"target_width": 3, "target_depth": 1}
    limit = sorted(c.params for c in everything(name).values())[len(everything(name)) // 3]
    more = {"epochs_each": 1} if method == "random" else {}
    run = search(
        PairDataset(tiny_images(24)),
        **TINY | {"epochs": 4} | target | more,
        space=home,
        method=method,
        max_params=limit,
        out=tmp_path / "run",
        quiet=True,
    )
    assert run.summary["params"] == cost(home, run.genotype, FRAME).params <= limit
    assert run.summary["target"] == {"width": 3, "depth": 1}
    assert run.summary["limits"]["max_params"] == limit
    assert run.summary["latency"] is None
    for row in run.metrics:
        assert cost(home, home.parse(row["architecture"]), FRAME).params <= limit
        if method == "random":
            assert cost(home, home.parse(row["candidate"]), FRAME).params <= limit


@pytest.mark.slow
def test_a_measured_latency_is_asked_at_the_end_and_survives_a_resumption(monkeypatch, tmp_path):
    clock = Clock(monkeypatch, weighed)
    given = {
        "target_width": 4,
        "target_depth": 1,
        "max_latency_ms": params_between(0.5, {"cell": [[0, 0, 0, 1, 0]] * 6}),
    }
    task = SearchTask(planned(**given))
    row = task.end_epoch(1, {})
    assert len(clock.networks) == 1  # the smallest one, by the plan
    assert NB201.parse(row["architecture"])
    best = task.plan.feasible.best(strengths(NB201, 0))
    again = SearchTask(planned(**given))
    again.load_state_dict(task.state_dict())
    clock.networks.clear()
    assert again.plan.feasible.best(strengths(NB201, 0)) == best
    assert not clock.networks
    run = search(PairDataset(tiny_images(24)), **TINY | given, out=tmp_path / "run", quiet=True)
    assert run.summary["latency"]["ms"] <= given["max_latency_ms"]
    assert run.summary["latency"]["source"].startswith("measured on ")


# --- the command line

SMALL = ["search", "digits", "--images", "60", "--epochs", "2", "--width", "2", "--device", "cpu", "--quiet"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "--max-params 10",
            "no architecture of space 'nasbench201' (16 channels, depth 5) is within the limits: at most 10",
        ),
        ("--max-params -5", "max_params takes a number above 0, such as 1500000, 1.5M or 300k, not '-5'"),
        ("--max-flops -5M", "max_flops takes a number above 0"),
        ("--max-flops much", "max_flops takes a number above 0"),
        ("--max-latency-ms -1", "max_latency_ms must be above 0, not -1.0"),
        ("--max-latency-ms fast", "--max-latency-ms takes {None}|FLOAT, not 'fast'"),
        (
            "--max-latency-ms 5 --latency raspi4",
            "unknown latency 'raspi4'; space 'nasbench201' has: measured, latency_",
        ),
        ("--max-latency-ms 5 --latency c10_test", "unknown latency 'c10_test'; space 'nasbench201' has: measured, "),
        ("--latency latency_fpga_ms", "latency 'latency_fpga_ms' limits nothing without max_latency_ms"),
        ("--max-latency-ms 0.1 --latency latency_fpga_ms", "no architecture of space 'nasbench201'"),
        ("--method random --max-params 10", "no architecture of space 'nasbench201'"),
        ("--target-width 0", "setting target_width must be at least 1, not 0"),
        ("--target-depth -2", "setting target_depth must be at least 1, not -2"),
    ],
)
def test_a_mistake_gets_one_line_and_nothing_is_written(line, said, call, tmp_path):
    status, out, err = call(*SMALL, *line.split())
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"supernet: {said}")
    assert not list(tmp_path.iterdir())


def test_limits_on_the_command_line(call):
    limits = ["--max-params", "200k", "--max-flops", "3M", "--target-depth", "2"]
    status, out, err = call(*SMALL, *limits, "--out", "run")
    assert (status, err) == (0, "")
    summary = Run("run").summary
    assert summary["params"] <= 200_000
    assert summary["flops"] <= 3_000_000
    size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
    assert f"\nsize          {size} on these images (16 channels, depth 2)\n" in out
    assert "\nlimits        at most 200,000 parameters, at most 3,000,000 FLOPs\n" in out
    assert call(*SMALL, *limits, "--out", "run")[1] == out
    status, _, err = call(*SMALL, "--max-params", "100k", "--target-depth", "2", "--out", "run")
    assert status == 2
    assert ": max_params (200000 there, 100000 now), max_flops (3000000 there, None now);" in err


@pytest.mark.slow
def test_config_starts_from_the_limits_of_a_run(call):
    latency = ["--max-latency-ms", "6.5", "--latency", "latency_raspi4_ms"]
    call(*SMALL, *latency, "--max-params", "300k", "--target-width", "8", "--out", "first")
    summary = Run("first").summary
    assert summary["latency"]["ms"] <= 6.5
    assert summary["latency"]["source"] == "latency_raspi4_ms of nasbench201"
    status, out, _ = call("search", "--config", "first", "--quiet", "--out", "second")
    assert status == 0
    assert f"\nlatency       {summary['latency']['ms']:.3g} ms, latency_raspi4_ms of nasbench201\n" in out
    assert Run("first").config == Run("second").config
    assert call("search", "--config", "first", "--max-params", "None", "--quiet", "--out", "third")[0] == 0
    assert Run("third").config["max_params"] is None
    no_table = ["--max-latency-ms", "None", "--latency", "measured", "--space", "s2"]
    assert call("search", "--config", "first", *no_table, "--quiet", "--out", "other", "--max-params", "3M")[0] == 0
    assert Run("other").config["target_width"] == 36
    assert Run("other").config["target_depth"] == 6
    assert json.loads(json.dumps(Run("other").summary))["latency"] is None


def test_a_limit_that_is_too_tight_is_told_where_an_operation_takes_some_widths_alone():
    def grouped(cin, cout, stride, norm):
        if cin % 4:
            raise ValueError(f"{cin} channels are no multiple of 4")
        return torch.nn.Conv2d(cin, cout, 3, stride, 1, groups=4)

    own = Primitive("grouped", grouped)
    home = SearchSpace("mine", {"cell": Cell.dense(2, ("grouped",))}, Stages(("cell",)), primitives=(own,))
    with pytest.raises(
        UserError, match=r"no architecture of space 'mine' .* is within the limits: at most 10 parameters"
    ):
        FeasibleSet(home, NetworkSize(16, 1, (8, 8), 1, 3), Limits(max_params=10)).check()
