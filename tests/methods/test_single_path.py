"""RSPS, SETN and GDAS against their definitions, and architectures by their probability."""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.errors import UserError
from supernet.methods import single_path
from supernet.methods.base import Budget, NoConfig
from supernet.methods.gdas import GDAS, GDASConfig, straight_through
from supernet.methods.setn import SETN, SETNConfig
from supernet.methods.single_path import RSPS, reaches_every_node
from supernet.models.mix import EdgeMix, detached
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages, sampling
from supernet.spaces.modules import Norm
from supernet.spaces.sampling import draws, likeliest
from supernet.testing import EXAMPLE_SPACES, noise_batch

NB201, RAGGED, TWO, MACRO, BRANCHED = EXAMPLE_SPACES
OPS = ("skip_connect", "sep_conv_3x3")
KEPT = SearchSpace(
    "kept", {"cell": Cell.dense(4, OPS, inputs=2, output="concat", keep=2, project=True)}, Stages(("cell",))
)
FEW_BRANCHES = SearchSpace(
    "few branches", {"cell": Cell.dense(3, OPS, output="unused", project="calibrate", branches=2)}, Stages(("cell",))
)
pytestmark = pytest.mark.usefixtures("still_noise")
each_space = pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)
WEIGHTS = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)


def make(kind, config, home=NB201, seed=3, epochs=5):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    return kind(config, supernet, Budget(epochs, WEIGHTS, seed))


def batches(**seeds):
    return {name: type(b)(b.x.double(), b.y, b.index) for name, b in ((n, noise_batch(s)) for n, s in seeds.items())}


@each_space
def test_rsps_takes_one_step_of_the_weights_of_a_drawn_path(home):
    method, again = (make(RSPS, NoConfig(), home) for _ in range(2))
    for _ in range(3):
        method.step(batches(weights=1))
        again.weight_step(batches(weights=1)["weights"], again.supernet.only(method.path))
    for one, other in zip(method.weights, again.weights, strict=True):
        assert torch.equal(one, other)


def test_rsps_draws_every_edge_by_itself():
    method = make(RSPS, NoConfig())
    drawn = [method.draw(random.Random(n)) for n in range(5000)]
    for edge in range(6):
        found = Counter(genotype["cell"][edge].op for genotype in drawn)
        assert len(found) == 5
        assert sum((n - 1000) ** 2 / 1000 for n in found.values()) < 18.5  # chi square, 4 degrees, 0.1 %
    assert sum(not reaches_every_node(method.supernet, g) for g in drawn) / 5000 == pytest.approx(0.238, abs=0.02)


def test_setn_draws_uniformly_among_architectures_with_an_input_to_every_node():
    method = make(SETN, SETNConfig())
    drawn = [method.draw(random.Random(n)) for n in range(5000)]
    found = Counter(str(genotype)[:16].split("|")[1] for genotype in drawn)  # the first edge's operation
    expected = 5000 / 4  # without none, which would leave node 1 without input
    assert set(found) == {"skip_connect~0", "nor_conv_1x1~0", "nor_conv_3x3~0", "avg_pool_3x3~0"}
    assert sum((n - expected) ** 2 / expected for n in found.values()) < 16.3  # chi square, 3 degrees, 0.1 %
    second = Counter(tuple(choice.op for choice in genotype["cell"][1:3]) for genotype in drawn)
    assert len(second) == 24
    assert sum((n - 5000 / 24) ** 2 * 24 / 5000 for n in second.values()) < 49.7  # 23 degrees


CHAIN = SearchSpace(
    "chain",
    {"cell": Cell(tuple(Edge(n + 1, n, ("none", "skip_connect", "nor_conv_1x1")) for n in range(22)))},
    Stages(("cell",)),
)


def test_where_hardly_a_draw_gives_every_node_an_input_single_nodes_are_drawn_again(monkeypatch):
    monkeypatch.setattr(single_path, "_DRAWS", 60)  # a draw succeeds once in 7 500
    method = make(SETN, SETNConfig(), CHAIN)
    drawn = [method.draw(random.Random(n)) for n in range(100)]
    assert all(reaches_every_node(method.supernet, genotype) for genotype in drawn)
    found = Counter(choice.op for genotype in drawn for choice in genotype["cell"])
    assert set(found) == {"skip_connect", "nor_conv_1x1"}
    assert found["skip_connect"] == pytest.approx(1100, abs=105)  # 4.5 standard deviations
    method.budget = replace(method.budget, allows=lambda genotype: True)  # a node drawn again might break the limits
    assert not reaches_every_node(method.supernet, method.draw(random.Random(0)))


def test_rsps_resumes():
    method, again = (make(RSPS, NoConfig()) for _ in range(2))
    for _ in range(4):
        method.step(batches(weights=1))
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    assert again.path == method.path
    method.step(batches(weights=2))
    again.step(batches(weights=2))
    assert again.path == method.path
    assert torch.equal(again.weights[0], method.weights[0])


@each_space
def test_setn_trains_a_path_and_then_alpha_on_all_operations(home):
    method, other = (make(SETN, SETNConfig(AlphaOptimizerConfig("sgd", lr=0.5)), home) for _ in range(2))
    given = batches(weights=1, alpha=2)
    method.step(given)
    other.weight_step(given["weights"], other.supernet.only(method.path))
    loss = F.cross_entropy(other.supernet(given["alpha"].x, other.mix()), given["alpha"].y)
    gradient = torch.autograd.grad(loss, list(other.alphas.values()), materialize_grads=True)
    for kind, value in zip(method.alphas, gradient, strict=True):
        assert torch.allclose(method.alphas[kind], other.alphas[kind] - 0.5 * value, atol=1e-12)
    for one, two in zip(method.weights, other.weights, strict=True):
        assert torch.equal(one, two)


def test_setn_proposes_the_likeliest():
    method = make(SETN, SETNConfig())
    p = torch.softmax(method.alphas["cell"].detach(), -1)
    best = method.proposals(7, random.Random(0))
    every = {g: math.prod(p[e, k].item() for e, k in enumerate(g)) for g in itertools.product(range(5), repeat=6)}
    wanted = sorted(every, key=every.__getitem__, reverse=True)[:7]
    assert [NB201.columns(g)["cell"] for g in best] == wanted


def all_of(home):
    """Every architecture of a small space, by brute force over its columns."""
    rows = [
        [(k, e, c) for c in (None, *range(len(edge.ops)))]
        for k, cell in home.cells.items()
        for e, edge in enumerate(cell.edges)
    ]
    for chosen in itertools.product(*rows):
        columns = {kind: [None] * len(cell.edges) for kind, cell in home.cells.items()}
        for kind, e, column in chosen:
            columns[kind][e] = column
        genotype = home.choose(columns)
        try:
            home.check(genotype)
        except UserError:
            continue
        yield genotype


def probability(home, weights, genotype):
    found = home.columns(genotype).items()
    return math.prod(weights[kind][e][k] for kind, row in found for e, k in enumerate(row) if k is not None)


@pytest.mark.parametrize("home", [RAGGED, KEPT, FEW_BRANCHES, MACRO], ids=lambda home: home.name)
def test_the_likeliest_are_those_of_brute_force_and_draws_come_as_often_as_they_should(home):
    rng = random.Random(1)
    weights = {k: [[rng.random() for _ in range(c.columns)] for _ in c.edges] for k, c in home.cells.items()}
    every = {genotype: probability(home, weights, genotype) for genotype in all_of(home)}
    assert len(every) == home.size
    best = sorted(every.values(), reverse=True)[:10]
    assert [probability(home, weights, g) for g in likeliest(home, weights, 10)] == pytest.approx(best, rel=1e-9)
    assert len(set(likeliest(home, weights, 10))) == 10
    total, found = sum(every.values()), Counter(itertools.islice(draws(home, weights, rng), 2000))
    top = sorted(every, key=every.__getitem__, reverse=True)[:5]
    for genotype in top:
        p = every[genotype] / total
        assert abs(found[genotype] / 2000 - p) < 4.5 * math.sqrt(p * (1 - p) / 2000)


def test_all_draws_are_from_options_that_are_listed_once(monkeypatch):
    listed, choices = [], sampling._independent_choices
    monkeypatch.setattr(sampling, "_independent_choices", lambda space: listed.append(space) or choices(space))
    weights = {"cell": [[0.0, 0.0], [1.0, 0.0], [0.2, 0.8], [0.0, 0.0], [3.0, 1.0]]}
    found, one = list(itertools.islice(draws(KEPT, weights, random.Random(5)), 20)), random.Random(5)
    assert listed == [KEPT]
    assert found == [next(draws(KEPT, weights, one)) for _ in range(20)]
    assert len(set(found)) > 2


def test_a_larger_count_than_the_space_gives_the_whole_space():
    weights = {k: [[1.0] * c.columns for _ in c.edges] for k, c in MACRO.cells.items()}
    assert len(set(likeliest(MACRO, weights, 10**6))) == MACRO.size


def test_a_straight_through_sample_is_one_hot_with_the_softmaxes_gradient():
    logits = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    p = torch.softmax(logits, -1)
    mix = straight_through(p)
    assert mix.active == tuple((k,) for k in p.argmax(-1).tolist())
    assert torch.allclose(mix.weights, F.one_hot(p.argmax(-1), 4).double(), atol=1e-15)
    assert torch.allclose(mix.shift, torch.zeros(3, dtype=torch.float64), atol=1e-15)
    g = torch.randn(3, 4, dtype=torch.float64)
    found = torch.autograd.grad((mix.weights * g).sum(), logits)[0]
    pd = p.detach()
    assert torch.allclose(found, pd * (g - (pd * g).sum(-1, keepdim=True)), atol=1e-12)


@pytest.mark.parametrize("engine", ["fused", "reference"])
@pytest.mark.parametrize("home", [NB201, RAGGED, TWO, MACRO], ids=lambda home: home.name)
def test_an_operation_not_drawn_has_the_gradient_of_a_number_added_everywhere(home, engine):
    """Against the written-out sum: h_i o_i(x), and the other h_k added as numbers to the edge's output."""
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    supernet.engine = engine
    batch = batches(a=1)["a"]
    leaves, mix = {}, {}
    for number, (kind, cell) in enumerate(home.cells.items()):
        p = torch.softmax(
            torch.randn(len(cell.edges), cell.columns, generator=torch.Generator().manual_seed(number)), -1
        )
        p = (p * torch.tensor([[k < len(e.ops) for k in range(cell.columns)] for e in cell.edges])).double()
        leaves[kind] = p.requires_grad_()
        mix[kind] = straight_through(leaves[kind])
    F.cross_entropy(supernet(batch.x, mix), batch.y).backward()

    plain = {kind: EdgeMix(edges.weights.detach().clone(), edges.active) for kind, edges in mix.items()}
    step = 1e-6
    for kind, cell in home.cells.items():
        for e, edge in enumerate(cell.edges):
            losses = []
            for sign in (1, -1):
                shift = torch.zeros(len(cell.edges), dtype=torch.float64)
                shift[e] = sign * step
                moved = plain | {kind: EdgeMix(plain[kind].weights, plain[kind].active, shift=shift)}
                losses.append(F.cross_entropy(supernet(batch.x, moved), batch.y).item())
            slope = (losses[0] - losses[1]) / (2 * step)
            for k in range(len(edge.ops)):
                if k not in mix[kind].active[e]:
                    assert leaves[kind].grad[e, k].item() == pytest.approx(slope, abs=2e-6)


@pytest.mark.parametrize("engine", ["fused", "reference"])
def test_a_shift_is_added_to_the_whole_output_of_an_edge(engine):
    """In a cell of one edge into the output, the shift is a number added to the cell's output."""
    torch.manual_seed(0)
    supernet = Supernet(MACRO, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    supernet.engine = engine
    kinds, x = list(MACRO.cells), batches(a=1)["a"].x
    mix = dict(supernet.only(MACRO.sample(random.Random(0))))
    last = kinds[-1]
    layer = supernet.layers[supernet.kinds.index(last)]
    seen = []
    hook = layer.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    supernet(x, mix)
    shift = torch.full((len(MACRO.cells[last].edges),), 0.25, dtype=torch.float64)
    supernet(x, mix | {last: EdgeMix(mix[last].weights, mix[last].active, mix[last].ones, shift)})
    hook.remove()
    assert torch.allclose(seen[1], seen[0] + 0.25, atol=1e-12)


@each_space
def test_gdas_steps_the_weights_on_one_draw_and_alpha_on_the_next(home):
    method, other = (make(GDAS, GDASConfig(alpha=AlphaOptimizerConfig("sgd", lr=0.5)), home) for _ in range(2))
    for each in (method, other):
        each.begin_epoch(2)
    tau, generator = (10 + 0.1) / 2, other.generator  # of the third of five epochs

    def draw():
        """Yield P of the module's docstring, the operations that run, and h, for each kind of cell."""
        for kind, alpha in other.alphas.items():
            log_p = alpha.masked_fill(~other.alphas.masks[kind], -torch.inf).log_softmax(-1)
            noise = -torch.empty(alpha.shape).exponential_(generator=generator).log().double()
            p = ((log_p + noise) / tau).softmax(-1)
            columns = p.argmax(-1)
            yield kind, columns, F.one_hot(columns, p.shape[1]) - p.detach() + p

    def running(columns):
        return tuple((k,) for k in columns.tolist())

    given = batches(weights=1, alpha=2)
    method.step(given)
    path = {k: EdgeMix(F.one_hot(c, h.shape[1]).double(), running(c)) for k, c, h in draw()}
    other.weight_step(given["weights"], path)
    for one, two in zip(method.weights, other.weights, strict=True):
        assert torch.allclose(one, two, atol=1e-12)
    before = {kind: alpha.detach().clone() for kind, alpha in other.alphas.items()}
    zeros = {k: (c, h, h * (1 - F.one_hot(c, h.shape[1]))) for k, c, h in draw()}
    mix = {k: EdgeMix(h, running(c), shift=rest.sum(-1)) for k, (c, h, rest) in zeros.items()}
    loss = F.cross_entropy(other.supernet(given["alpha"].x, mix), given["alpha"].y)
    gradient = torch.autograd.grad(loss, list(other.alphas.values()), materialize_grads=True)
    for (kind, alpha), value in zip(before.items(), gradient, strict=True):
        assert torch.allclose(method.alphas[kind], alpha - 0.5 * value, atol=1e-12)
    assert any(value.abs().sum() > 0 for value in gradient)
    for one, two in zip(method.weights, other.weights, strict=True):  # the step of alpha moves no weight
        assert torch.allclose(one, two, atol=1e-12)


def test_gdas_draws_each_operation_as_often_as_softmax_says():
    method = make(GDAS, GDASConfig())
    with torch.no_grad():
        method.alphas["cell"].copy_(torch.randn(6, 5, generator=torch.Generator().manual_seed(2)))
    method.begin_epoch(2)
    counts = torch.zeros(6, 5)
    for _ in range(4000):
        counts += detached(method._path())["cell"].weights
    p = torch.softmax(method.alphas["cell"].detach(), -1)
    assert ((counts / 4000 - p).abs() < 4.5 * (p * (1 - p) / 4000).sqrt()).all()


def test_the_temperature_falls_linearly_from_the_first_epoch_to_the_last():
    method, seen = make(GDAS, GDASConfig(), epochs=5), []
    for epoch in range(5):
        method.begin_epoch(epoch)
        seen.append(method.tau)
    assert seen == pytest.approx([10, 7.525, 5.05, 2.575, 0.1])


@pytest.mark.parametrize("settings", [{"tau": 0.05}, {"tau_min": 0.0}, {"tau_min": -1.0}])
def test_an_invalid_temperature_is_refused(settings):
    with pytest.raises(UserError, match="tau-min must be above 0 and at most tau"):
        GDASConfig(**settings)
