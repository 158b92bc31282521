"""R-DARTS: its steps against autograd through the unrolled step, and its schedules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.engine.seeds import seeded
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable
from supernet.methods.robust import RobustDP, RobustL2
from supernet.methods.unrolled import unrolled_gradient
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import Supernet
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm, ReLUConvBN
from supernet.spaces.operations import Primitive
from supernet.testing import noise_batch, ragged_space
from supernet.testing.runs import small_plan

TWO_EDGES = SearchSpace(
    "two edges", {"cell": Cell.dense(3, ("nor_conv_1x1", "avg_pool_3x3", "skip_connect"))}, Stages(("cell",))
)
NOISY = SearchSpace("noisy", {"cell": Cell.dense(3, ("nor_conv_1x1", "noise"))}, Stages(("cell",)))
DROPPED = Primitive(
    "dropped", lambda cin, cout, stride, norm: nn.Sequential(ReLUConvBN(cin, cout, 1, stride, norm), nn.Dropout())
)
DROPPING = SearchSpace(
    "dropping", {"cell": Cell.dense(3, ("skip_connect", "dropped"))}, Stages(("cell",)), primitives=(DROPPED,)
)
WEIGHTS = SGDConfig(lr=0.05, momentum=0.0, weight_decay=0.02, clip=0.0)
BATCHES = {"weights": noise_batch(1), "alpha": noise_batch(2)}


def make(kind, order=2, home=TWO_EDGES, **config):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    supernet.engine = "reference"
    config = kind.Config(regime="different_subset", activation="softmax", order=order, **config)
    return kind(config, supernet, Budget(epochs=5, weights=WEIGHTS, seed=0))


def exact(method, decay, seed=None):
    """The gradient of alpha through the unrolled step by autograd, and the step itself."""
    supernet, alphas = method.supernet, list(method.alphas.values())
    buffers = {name: value.clone() for name, value in supernet.named_buffers()}

    def loss(weights, batch):
        return F.cross_entropy(functional_call(supernet, weights | buffers, (batch.x, method.mix())), batch.y)

    weights = dict(supernet.named_parameters())
    with seeded(0 if seed is None else seed):
        inner = loss(weights, BATCHES["weights"])
    slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    ahead = {
        name: w - method.optimizer.param_groups[0]["lr"] * (slope + decay * w)
        for (name, w), slope in zip(weights.items(), slopes, strict=True)
    }
    return torch.autograd.grad(loss(ahead, BATCHES["alpha"]), alphas), ahead


def difference(found, expected):
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def test_l2_multiplies_the_weight_decay_of_both_steps():
    method = make(RobustL2, decay_factor=9.0)
    found = method.alpha_gradient(BATCHES["weights"], BATCHES["alpha"])
    assert difference(found, exact(method, 9 * 0.02)[0]) < 1e-5
    assert difference(found, exact(method, 0.02)[0]) > 1e-3
    first = make(RobustL2, order=1, decay_factor=9.0, alpha=AlphaOptimizerConfig(lr=0.0))
    _, ahead = exact(first, 9 * 0.02)
    first.step(BATCHES)
    for name, weight in first.supernet.named_parameters():
        assert torch.allclose(weight, ahead[name], rtol=1e-9, atol=1e-12), name


def test_a_factor_of_one_is_darts():
    assert make(RobustL2).optimizer.param_groups[0]["weight_decay"] == 0.02


@pytest.mark.parametrize(
    ("kind", "home", "config"),
    [(RobustDP, TWO_EDGES, {"drop_path": 0.5}), (Differentiable, NOISY, {}), (Differentiable, DROPPING, {})],
    ids=["drop-path", "noise", "dropout"],
)
def test_all_passes_of_the_finite_difference_draw_the_same(kind, home, config):
    method = make(kind, home=home, **config)
    method.begin_epoch(4)
    torch.manual_seed(7)
    found = method.alpha_gradient(BATCHES["weights"], BATCHES["alpha"])
    torch.manual_seed(7)
    expected, _ = exact(method, 0.02, seed=int(torch.randint(2**62, ())))
    assert difference(found, expected) < 1e-3
    alphas = list(method.alphas.values())
    torch.manual_seed(7)
    mixed = unrolled_gradient(method.supernet, method.mix, alphas, method.optimizer, *BATCHES.values())
    assert difference(mixed, expected) > 2e-3  # a finite difference of two functions


def test_whole_edges_are_dropped_for_an_image_skip_connections_included():
    method, x = make(RobustDP, drop_path=0.5), noise_batch(3).x
    method.begin_epoch(4)
    (cell,), edges = method.supernet.mixed_cells, TWO_EDGES.cells["cell"].edges
    weights = method.mix()["cell"].weights.detach()
    inside = torch.randn(len(x), 2, 8, 8).double()
    torch.manual_seed(7)
    kept = torch.empty(len(edges), len(x), 1, 1, 1).double().bernoulli_(0.5) / 0.5
    assert 0 < kept.count_nonzero() < kept.numel()
    nodes = [inside, 0, 0]
    for e, edge in enumerate(edges):
        parts = [weights[e, k] * op(nodes[edge.source]) for k, op in enumerate(cell.ops[e])]
        nodes[edge.target] = nodes[edge.target] + kept[e] * sum(parts)
    for engine in ("reference", "fused"):
        cell.engine = engine
        torch.manual_seed(7)
        assert torch.allclose(cell([inside], method.mix()["cell"]), nodes[2], rtol=1e-12, atol=1e-12)
    evaluated = method.supernet.eval()(x, method.mix())
    cell.drop_edges = 0.0
    assert torch.equal(method.supernet(x, method.mix()), evaluated)


def test_in_a_chain_operations_are_dropped_so_that_something_leads_through():
    method = make(RobustDP, home=SearchSpace.chain("one", [(("nor_conv_1x1", "skip_connect"), 1, 1)]), drop_path=0.5)
    method.begin_epoch(4)
    assert [(cell.drop_path, cell.drop_edges) for cell in method.supernet.mixed_cells] == [(0.5, 0.0)]
    stages = make(RobustDP, home=space("mobile"), drop_path=0.5)  # in its stages several edges follow each other
    stages.begin_epoch(4)
    assert {cell.drop_edges for cell in stages.supernet.mixed_cells} == {0.0}


def test_drop_path_and_cutout_rise_linearly_from_0_to_their_largest():
    method = make(RobustDP, drop_path=0.4, cutout_probability=0.8)
    cells = [layer for layer in method.supernet.layers if isinstance(layer, MixedCell)]
    found = []
    for epoch in range(5):
        method.begin_epoch(epoch)
        assert len({cell.drop_edges for cell in cells}) == 1
        found.append((cells[0].drop_edges, method.cutout_probability))
    assert found == [pytest.approx((0.4 * e / 4, 0.8 * e / 4)) for e in range(5)]
    assert method.end_epoch(4, 0.5)["drop_path"] == 0.4
    single = replace(method.budget, epochs=1)
    alone = RobustDP(method.config, method.supernet, single)
    alone.begin_epoch(0)
    assert (cells[0].drop_edges, alone.cutout_probability) == (0, 0)


def test_without_drop_path_a_step_is_that_of_darts():
    plain, robust = make(RobustL2), make(RobustDP)
    for method in (plain, robust):
        method.begin_epoch(4)
        method.step(BATCHES)
    assert torch.equal(plain.alphas["cell"], robust.alphas["cell"])
    assert all(torch.equal(a, b) for a, b in zip(plain.weights, robust.weights, strict=True))


def test_the_streams_of_a_search_cut_out_as_the_method_says():
    plan = small_plan(ragged_space(), "r-darts-dp", epochs=3, cutout=2, cutout_probability=0.6)
    task, shares = SearchTask(plan), []
    for epoch in range(3):
        task.begin_epoch(epoch)
        shares.append({stream.cutout_probability for stream in task.streams.values()})
    assert shares == [{0}, {0.3}, {0.6}]
    other = SearchTask(plan)
    other.load_state_dict(task.state_dict())
    assert {stream.cutout_probability for stream in other.streams.values()} == {0.6}
