"""Expected costs against every architecture there is, each with the probability of being drawn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, cost
from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import Limits
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stack, space, tables
from supernet.testing import macro_space, ragged_space

NB201, TABLE = space("nasbench201"), tables.load("nasbench201")
FRAME = NetworkSize(width=3, depth=1, image_size=(8, 8), channels=1, classes=3)
KEEPS = SearchSpace(
    "keeps",
    {
        "normal": Cell.dense(
            4, ("none", "skip_connect", "sep_conv_3x3"), inputs=2, output="concat", keep=1, project=True
        ),
        "reduce": Cell.dense(3, ("max_pool_3x3", "sep_conv_3x3"), inputs=2, output="concat", keep=1, project=True),
    },
    Stack(),
)
LISTED = {home.name: home for home in (ragged_space(), macro_space())}
each_space = pytest.mark.parametrize("home", LISTED.values(), ids=LISTED)
COLUMNS = np.array(list(itertools.product(range(5), repeat=6)))  # of every architecture of NAS-Bench-201


def drawn(home, seed):
    """Positive weights that sum to anything, with rubbish past the candidates of an edge."""
    rng = np.random.default_rng(seed)
    rows = {
        kind: [[*rng.gamma(1, 2, len(edge.ops)), *[9.0] * (cell.columns - len(edge.ops))] for edge in cell.edges]
        for kind, cell in home.cells.items()
    }
    return {kind: torch.tensor(each, dtype=torch.float64) for kind, each in rows.items()}


def filled(home, value):
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    return {kind: torch.full(shape, value, dtype=torch.float64) for kind, shape in shapes.items()}


def one_hot(home, columns):
    """The weights that only draw the operations in these columns, one per edge of all cells."""
    left = iter(columns)
    rows = {
        kind: [[float(k == column) for k in range(cell.columns)] for column in itertools.islice(left, len(cell.edges))]
        for kind, cell in home.cells.items()
    }
    return {kind: torch.tensor(each, dtype=torch.float64) for kind, each in rows.items()}


def every(home):
    """The column on each edge of all cells, and the edges as (kind, number, candidates)."""
    edges = [(kind, e, edge.ops) for kind, cell in home.cells.items() for e, edge in enumerate(cell.edges)]
    return edges, list(itertools.product(*(range(len(ops)) for _, _, ops in edges)))


def mean(home, weights, values):
    """The mean of a value per architecture, as `every` lists them: by multiplying probabilities."""
    edges, listed = every(home)
    rows = [weights[kind][e][: len(ops)].numpy() for kind, e, ops in edges]
    chances = [math.prod(row[k] / row.sum() for row, k in zip(rows, columns, strict=True)) for columns in listed]
    assert math.fsum(chances) == pytest.approx(1)
    return float(np.dot(chances, values))


def genotype(home, columns):
    left = iter(columns)
    return home.choose({kind: list(itertools.islice(left, len(cell.edges))) for kind, cell in home.cells.items()})


@each_space
@pytest.mark.parametrize("name", ["flops", "params"])
def test_a_count_is_the_mean_over_all_architectures(home, name):
    expected, listed = Expected(FeasibleSet(home, FRAME), name), every(home)[1]
    costs = [getattr(cost(home, genotype(home, columns), FRAME), name) for columns in listed]
    assert len(costs) == home.size
    for seed in range(5):
        weights = drawn(home, seed)
        assert expected(weights) == pytest.approx(mean(home, weights, costs), rel=1e-12)
    for columns, its in zip(listed, costs, strict=True):
        assert expected(one_hot(home, columns)) == its
    for value in (0.0, 0.25, 7.0):
        assert expected(filled(home, value)) == pytest.approx(np.mean(costs), rel=1e-12)


@pytest.mark.parametrize(("home", "name"), [(LISTED["ragged"], "flops"), (NB201, "latency_pixel3_ms")])
def test_its_gradient_is_that_of_finite_differences(home, name):
    weights, expected = drawn(home, 5), Expected(FeasibleSet(home, FRAME), name)
    scale, values = float(expected(weights)), [rows.requires_grad_() for rows in weights.values()]
    assert torch.autograd.gradcheck(lambda *rows: expected(dict(zip(weights, rows, strict=True))) / scale, values)


@pytest.mark.parametrize("home", [*LISTED.values(), KEEPS, NB201], ids=lambda home: home.name)
def test_the_derived_cost_is_that_of_the_architecture_that_the_scores_give(home):
    expected = Expected(FeasibleSet(home, FRAME), "params")
    for seed in range(20):
        scores = drawn(home, seed)
        derived = home.derive({kind: rows.tolist() for kind, rows in scores.items()})
        assert expected.derived(scores).item() == expected.of(derived) == cost(home, derived, FRAME).params


class Read(TorchDispatchMode):
    """Counts the values that Python reads: on a GPU each waits for all work before, and no recording allows it."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["params", "latency_pixel3_ms"])
def test_a_recorded_step_may_ask_for_the_derived_cost(name):
    scores, expected = drawn(NB201, 0), Expected(FeasibleSet(NB201, FRAME), name)
    with Read() as read:
        expected.derived(scores, 0.02)
    assert read.count == 0


@pytest.mark.parametrize("name", ["params", "latency_pixel3_ms"])
def test_a_tilt_prefers_what_costs(name):
    expected, scores = Expected(FeasibleSet(NB201, FRAME), name), filled(NB201, 1.0)
    assert expected.derived(scores) == expected.of(genotype(NB201, [0] * 6))  # the first among equals
    assert expected.derived(scores, 0.02) == expected.of(genotype(NB201, [3] * 6))
    scores["cell"][:, 1] = 1.03
    assert expected.derived(scores, 0.02) == expected.of(genotype(NB201, [1] * 6))


def test_every_edge_counts_where_an_architecture_keeps_few():
    edges, listed = every(KEEPS)
    prices = OperationCosts(KEEPS, FRAME)
    costs = [
        prices.fixed.params
        + sum(prices.of(kind, e, ops[k]).params for (kind, e, ops), k in zip(edges, columns, strict=True))
        for columns in listed
    ]
    expected = Expected(FeasibleSet(KEEPS, FRAME), "params")
    weights = drawn(KEEPS, 0)
    assert expected(weights) == pytest.approx(mean(KEEPS, weights, costs), rel=1e-12)
    assert expected(one_hot(KEEPS, listed[costs.index(max(costs))])) == max(costs)


def test_the_costs_of_nasbench201_are_the_tables():
    costs = np.array([TABLE.column("c10_flops_m")[TABLE.index(genotype(NB201, columns))] for columns in COLUMNS])
    expected = Expected(FeasibleSet(NB201, NetworkSize()), "flops")
    weights = drawn(NB201, 1)
    assert expected(weights) == pytest.approx(1e6 * mean(NB201, weights, costs), rel=1e-6)


@pytest.mark.parametrize("field", ["latency_pixel3_ms", "latency_edgegpu_ms"])
def test_a_tabulated_latency_is_the_mean_over_the_table(field):
    ms = np.array([TABLE.column(field)[TABLE.index(genotype(NB201, columns))] for columns in COLUMNS])
    measured = ~np.isnan(ms)
    assert measured.all() == (field == "latency_pixel3_ms")
    ms[~measured] = ms[measured].mean()
    expected = Expected(FeasibleSet(NB201, NetworkSize()), field)
    weights = drawn(NB201, 2)
    assert expected(weights) == pytest.approx(mean(NB201, weights, ms), rel=1e-12)
    for number in (0, 1, 4321, 15624, int(ms.argmax()), int(measured.argmin())):
        assert expected(one_hot(NB201, COLUMNS[number])) == ms[number]
    assert expected(filled(NB201, 0.0)) == pytest.approx(ms.mean(), rel=1e-12)


def test_a_measured_latency_is_what_the_operations_take_on_their_own(monkeypatch):
    devices = []

    def timed(measured, build, reads):
        devices.append(measured._device.type)
        return float(1 + sum(p.numel() for p in build().parameters()))

    monkeypatch.setattr(MeasuredLatency, "_timed", timed)
    feasible = FeasibleSet(NB201, FRAME, Limits(max_latency_ms=10.0), "meta")
    alone = np.array(feasible.latency.per_operation["cell"], float) / 1e6
    ms = alone[np.arange(6), COLUMNS].sum(1)
    seen, weights = len(devices), drawn(NB201, 3)
    expected = Expected(feasible, "latency")
    assert len(devices) == seen  # what the limits have measured is not measured again
    assert expected(weights) == pytest.approx(mean(NB201, weights, ms), rel=1e-12)
    assert expected(one_hot(NB201, [0] * 6)) == 0  # none
    for others in (feasible.unmeasured, FeasibleSet(NB201, FRAME, device="meta")):
        assert others.latency is None
        assert Expected(others, "latency")(weights) == expected(weights)
    assert set(devices) == {"meta"}
    assert len(devices) == 3 * seen


def test_rows_of_any_kind_are_read():
    expected, weights = Expected(FeasibleSet(LISTED["ragged"], FRAME), "params"), drawn(LISTED["ragged"], 4)
    cells = LISTED["ragged"].cells.items()
    bare = {kind: [row[: len(e.ops)] for row, e in zip(weights[kind], c.edges, strict=True)] for kind, c in cells}
    assert expected(bare) == expected(weights)
    halves = {kind: rows.float() for kind, rows in weights.items()}
    assert expected(halves).item() == pytest.approx(expected(weights).item())


@pytest.mark.parametrize(
    ("home", "name", "said"),
    [
        (NB201, "flop", "unknown cost of space 'nasbench201': 'flop'; did you mean 'flops'? known: flops, "),
        (NB201, "latency_pixel_ms", "unknown cost of space 'nasbench201': 'latency_pixel_ms'; did you mean 'latency_"),
        (NB201, "c10_test", "unknown cost of space 'nasbench201': 'c10_test'; known: "),
        (KEEPS, "latency_pixel3_ms", "unknown cost of space 'keeps': 'latency_pixel3_ms'; did you mean 'latency'? "),
        (KEEPS, "", "unknown cost of space 'keeps': ''; known: flops, params, latency"),
    ],
)
def test_an_unknown_cost_is_a_mistake(home, name, said):
    with pytest.raises(UserError) as error:
        Expected(FeasibleSet(home, FRAME), name)
    assert str(error.value).startswith(said)
