"""The supernet against a second implementation that is written from the equations, in float64."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.models import mixed_cell
from supernet.models.mix import EdgeMix, dense, detached
from supernet.models.mixed_cell import MixedCell
from supernet.models.network import Network, build
from supernet.models.supernet import Supernet, traceless
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm, Zero
from supernet.spaces.operations import Primitive
from supernet.testing import macro_space, noise_batch, ragged_space, shortened, two_input_space

SPACES = [shortened(space("nasbench201")), ragged_space(), shortened(two_input_space()), macro_space()]
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)
each_mode = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


pytestmark = pytest.mark.usefixtures("still_noise")


def network_size(depth=1):
    return NetworkSize(4, depth, (8, 8), 1, 3)


def make(home, seed=0, depth=1, norm=Norm(affine=False)):  # noqa: B008
    torch.manual_seed(seed)
    supernet = Supernet(home, network_size(depth), norm).double()
    with torch.no_grad():  # running statistics that are not the initial ones and differ from operation to operation
        for _ in range(2):
            supernet(noise_batch(seed).x + 0.3, dense(weights(home, seed)))
    return supernet


def weights(home, seed):
    g = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    return {kind: torch.randn(shape, generator=g, dtype=torch.float64) for kind, shape in shapes.items()}


def architectures(home, count=4):
    rng = random.Random(0)
    return [home.sample(rng) for _ in range(count)]


def by_hand(supernet, x, mix, edges=None):
    """x_j = sum_{i<j} sum_k p_k o_k(x_i), with all candidates, also `none`; appends each edge's output and parts.

    The first nodes of a cell are the outputs of the layers before it; the stem replaces layers that do not exist.
    """
    outputs = []
    for layer, kind in zip(supernet.layers, supernet.kinds, strict=True):
        if kind is None:
            outputs.append(layer(outputs[-1] if outputs else x))
            continue
        cell = supernet.space.cells[kind]
        before = [outputs[max(0, len(outputs) - cell.inputs + number)] for number in range(cell.inputs)]
        nodes = {number: layer.inputs[number](x) for number, x in enumerate(before)}
        for e, edge in enumerate(cell.edges):
            parts = [layer.ops[e][k](nodes[edge.source]) for k in range(len(edge.ops))]
            out = sum(mix[kind][e, k] * part for k, part in enumerate(parts))
            if edges is not None:
                edges.append((kind, e, out, parts))
            nodes[edge.target] = nodes.get(edge.target, 0) + out
        own = [nodes[number] for number in range(cell.inputs, cell.nodes)]
        outputs.append(torch.cat(own, dim=1) if cell.output == "concat" else own[-1])
    return outputs[-1]


def candidates(supernet):
    """Kind, edge, column, primitive and module of every candidate of every cell."""
    for layer, kind in zip(supernet.layers, supernet.kinds, strict=True):
        if kind is not None:
            for e, edge in enumerate(supernet.space.cells[kind].edges):
                for k, op in enumerate(edge.ops):
                    yield kind, e, k, supernet.space.primitive(op), layer.ops[e][k]


@each_space
@each_mode
def test_output_is_the_weighted_sum_over_edges_and_operations(home, train):
    supernet, x, mix = make(home, depth=2).train(train), noise_batch(1).x, weights(home, 1)
    torch.testing.assert_close(supernet(x, dense(mix)), by_hand(supernet, x, mix), rtol=1e-12, atol=1e-12)


@each_space
def test_an_op_weights_gradient_is_the_inner_product_with_the_operations_output(home):
    supernet, batch = make(home), noise_batch(1)
    mix = {kind: value.requires_grad_() for kind, value in weights(home, 1).items()}
    loss = F.cross_entropy(supernet(batch.x, dense(mix)), batch.y)
    found = dict(zip(mix, torch.autograd.grad(loss, list(mix.values())), strict=True))

    edges = []
    loss = F.cross_entropy(by_hand(supernet, batch.x, mix, edges), batch.y)
    gradients = torch.autograd.grad(loss, [out for _, _, out, _ in edges])
    wanted = {kind: torch.zeros_like(value) for kind, value in mix.items()}
    for (kind, e, _, parts), gradient in zip(edges, gradients, strict=True):  # summed over the cells of one kind
        for k, part in enumerate(parts):
            wanted[kind][e, k] += (gradient * part).sum()
    for kind, value in wanted.items():
        assert value.abs().max() > 1e-4
        torch.testing.assert_close(found[kind], value, rtol=1e-10, atol=1e-14)


@each_space
def test_gradients_of_the_weights_are_those_of_the_weighted_sum(home):
    supernet, batch, mix = make(home), noise_batch(1), weights(home, 1)
    found = torch.autograd.grad(F.cross_entropy(supernet(batch.x, dense(mix)), batch.y), list(supernet.parameters()))
    wanted = torch.autograd.grad(F.cross_entropy(by_hand(supernet, batch.x, mix), batch.y), list(supernet.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@each_space
@each_mode
def test_running_one_architecture_is_running_all_with_a_one_hot_mix(home, train):
    supernet, x = make(home).train(train), noise_batch(1).x
    supernet.engine = "reference"  # the fused engine rounds differently
    for genotype in architectures(home):
        one_hot = {kind: torch.zeros_like(value) for kind, value in weights(home, 0).items()}
        for kind, columns in home.columns(genotype).items():
            for e, k in enumerate(columns):
                if k is not None:
                    one_hot[kind][e, k] = 1
        assert torch.equal(supernet(x, supernet.only(genotype)), supernet(x, dense(one_hot)))


@each_space
@each_mode
@pytest.mark.parametrize("affine", [True, False])
def test_running_one_architecture_is_the_standalone_network_with_the_same_weights(home, train, affine):
    home = replace(home, norm_pools=False)  # only supernets have a norm behind a pool
    supernet, x = make(home, norm=Norm(affine=affine)).train(train), noise_batch(1).x
    if affine:
        with torch.no_grad():
            for weight in supernet.parameters():
                weight += 0.1 * torch.randn_like(weight)

    def take(plain, shared):
        gaps = plain.load_state_dict(shared.state_dict(), strict=False)
        assert not gaps.unexpected_keys
        # A norm that learns no scale and shift equals one with weight 1 and bias 0, the network's initial values
        assert not gaps.missing_keys or not affine

    for genotype in architectures(home):
        network = build(genotype, width=4, depth=1, classes=3, channels=1, image_size=(8, 8), within=home).double()
        columns = home.columns(genotype)
        for layer, kind, plain in zip(supernet.layers, supernet.kinds, network.layers, strict=True):
            if kind is None:
                plain.load_state_dict(layer.state_dict())
                continue
            take(plain.inputs, layer.inputs)
            chosen = [layer.ops[e][k] for e, k in enumerate(columns[kind]) if k is not None]
            for own, shared in zip(plain.ops, (op for op in chosen if not isinstance(op, Zero)), strict=True):
                take(own, shared)
        wanted = network.train(train)(x)
        torch.testing.assert_close(supernet(x, supernet.only(genotype)), wanted, rtol=1e-12, atol=1e-12)


@each_space
def test_only_active_operations_run_and_none_never_does(home):
    supernet, x = make(home), noise_batch(1).x
    supernet.engine = "reference"  # the fused engine calls the layers of an operation
    runs = {}
    for number, (*_, module) in enumerate(candidates(supernet)):
        module.register_forward_hook(lambda *_, number=number: runs.update({number: runs.get(number, 0) + 1}))
    for genotype in architectures(home):
        columns = home.columns(genotype)
        runs.clear()
        supernet(x, supernet.only(genotype))
        wanted = [columns[kind][e] == k and not p.zero for kind, e, k, p, _ in candidates(supernet)]
        assert runs == {number: 1 for number, active in enumerate(wanted) if active}
    runs.clear()
    supernet(x, dense(weights(home, 0)))
    assert runs == {n: 1 for n, (_, _, _, p, _) in enumerate(candidates(supernet)) if not p.zero}


@each_space
def test_weights_of_operations_that_do_not_run_get_no_gradient(home):
    supernet, batch = make(home), noise_batch(1)
    learned = {kind: [[home.primitive(op).learned for op in e.ops] for e in c.edges] for kind, c in home.cells.items()}
    genotype = home.derive(learned)
    columns = home.columns(genotype)
    F.cross_entropy(supernet(batch.x, supernet.only(genotype)), batch.y).backward()
    for kind, e, k, _, module in candidates(supernet):
        for weight in module.parameters():
            assert (weight.grad is not None) == (columns[kind][e] == k)
    assert all(w.grad is not None for w in supernet.layers[0].parameters())


def test_several_operations_of_an_edge_may_be_active():
    home = SPACES[0]
    supernet, x = make(home), noise_batch(1).x
    active = ((1, 3), (0,), (2,), (0, 1, 2, 3, 4), (4, 1), ())
    full = weights(home, 2)["cell"]
    zeroed = torch.zeros_like(full)
    for e, columns in enumerate(active):
        for k in columns:
            zeroed[e, k] = full[e, k]
    partly = supernet(x, {"cell": EdgeMix(full, active)})
    torch.testing.assert_close(partly, by_hand(supernet, x, {"cell": zeroed}), rtol=1e-12, atol=1e-12)


def test_none_adds_nothing_and_its_weight_has_no_gradient():
    home = SPACES[0]
    supernet, batch = make(home), noise_batch(1)
    mix = weights(home, 1)["cell"].requires_grad_()
    F.cross_entropy(supernet(batch.x, dense({"cell": mix})), batch.y).backward()
    assert torch.equal(mix.grad[:, 0], torch.zeros(6, dtype=torch.float64))
    assert (mix.grad[:, 1:] != 0).all()
    other = mix.detach().clone()
    other[:, 0] = 7
    assert torch.equal(supernet(batch.x, dense({"cell": mix})), supernet(batch.x, dense({"cell": other})))


@each_mode
def test_a_cell_of_nothing_but_none_gives_zeros_and_still_trains(train):
    home = SPACES[0]
    nothing = home.choose({"cell": (0,) * 6})
    supernet, batch = make(home).train(train), noise_batch(1)
    cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell))
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    assert torch.equal(cell([x], supernet.only(nothing)["cell"]), torch.zeros_like(x))
    F.cross_entropy(supernet(batch.x, supernet.only(nothing)), batch.y).backward()
    assert supernet.layers[-1][-1].weight.grad is not None  # the head learns the classes' frequencies
    network = (
        build(nothing, width=4, depth=1, classes=3, channels=1, image_size=(8, 8), within=home).double().train(train)
    )
    assert torch.isfinite(network(batch.x)).all()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("track", [True, False])
@each_space
def test_norms_in_cells_are_of_the_given_kind_and_all_others_learn(home, affine, track):
    supernet = Supernet(home, network_size(1), Norm(affine, track))
    cells = [layer for layer in supernet.layers if isinstance(layer, MixedCell)]
    inside = {id(m) for cell in cells for m in cell.modules()}
    behind = {id(m[1]) for *_, p, m in candidates(supernet) if p.name == "max_pool_3x3" and home.norm_pools}
    norms = [m for m in supernet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert 0 < len([m for m in norms if id(m) in inside]) < len(norms)
    assert len(behind) == (18 if home.norm_pools else 0)  # one on each of 9 edges of 2 normal cells
    for norm in norms:
        wanted = (affine, track) if id(norm) in inside else (True, True)
        wanted = (False, track) if id(norm) in behind else wanted
        assert (norm.affine, norm.track_running_stats) == wanted


def test_a_standalone_network_has_no_norm_behind_a_pool():
    home = SPACES[2]
    for switch in (True, False):
        supernet = Supernet(replace(home, norm_pools=switch), network_size(1), Norm())
        kinds = {type(m) for *_, p, m in candidates(supernet) if p.name == "max_pool_3x3"}
        assert kinds == {nn.Sequential if switch else nn.MaxPool2d}
    ops = [[float(op == "max_pool_3x3") for op in edge.ops] for edge in home.cells["normal"].edges]
    genotype = home.derive({"normal": ops, "reduce": [[1, 0]] * 3})
    assert {choice.op for choice in genotype["normal"]} == {"max_pool_3x3"}
    network = build(genotype, width=4, depth=1, channels=1, image_size=(8, 8), within=home)
    found = [type(op) for layer in network.layers if hasattr(layer, "ops") for op in layer.ops]
    assert found.count(nn.MaxPool2d) == 2 * 6


def test_batch_statistics_are_used_in_evaluation_without_running_ones():
    home, x = SPACES[0], noise_batch(1).x
    for track in (True, False):
        supernet = make(home, norm=Norm(affine=False, track=track))
        cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell)).eval()
        mix = supernet.only(home.choose({"cell": (0, 0, 0, 3, 0, 0)}))["cell"]
        out = cell([F.pad(x, (0, 0, 0, 0, 0, 3))], mix)
        assert (out.mean((0, 2, 3)).abs().max() < 1e-10) == (not track)


def test_detached_keeps_the_mix_and_cuts_the_gradient():
    mix = {"a": EdgeMix(torch.ones(1, 2, requires_grad=True) * 2, ((1,),))}
    cut = detached(mix)
    assert not cut["a"].weights.requires_grad
    assert torch.equal(cut["a"].weights, mix["a"].weights)
    assert cut["a"].active == ((1,),)


@each_space
def test_a_traceless_run_has_the_same_logits_and_leaves_the_running_statistics(home):
    supernet, x, mix = make(home), noise_batch(1).x, dense(weights(home, 1))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = traceless(supernet, x, mix)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert torch.equal(found, supernet(x, mix))
    assert not torch.equal(supernet.layers[0][1].running_mean, before["layers.0.1.running_mean"])
    moved = {name: weight + 0.1 for name, weight in supernet.named_parameters()}
    found = traceless(supernet, x, mix, moved)
    supernet.load_state_dict(moved, strict=False)
    torch.testing.assert_close(found, supernet(x, mix), rtol=1e-12, atol=1e-12)


@each_space
def test_redrawn_weights_are_those_of_a_new_supernet(home):
    torch.manual_seed(3)
    fresh = Supernet(home, network_size(), Norm(affine=False)).state_dict()
    used = Supernet(home, network_size(), Norm(affine=False))
    places = [weight.data_ptr() for weight in used.parameters()]
    used(noise_batch(0).x.float(), dense(weights(home, 0)))
    torch.manual_seed(3)
    used.redraw()
    assert all(torch.equal(value, fresh[name]) for name, value in used.state_dict().items())
    assert [weight.data_ptr() for weight in used.parameters()] == places  # the optimizer's weights


def test_new_paths_need_no_new_plans(monkeypatch):
    planned = []
    plan = mixed_cell.plan_stage
    monkeypatch.setattr(mixed_cell, "plan_stage", lambda *given: planned.append(given) or plan(*given))
    home, rng = space("nasbench201"), random.Random(0)
    supernet = Supernet(home, NetworkSize(2, 1, (4, 4)), Norm())
    paths = {supernet.only(home.sample(rng))["cell"].active for _ in range(700)}
    stages = [supernet.mixed_cells[0].stages(path, 0) for path in paths]
    assert len(paths) > 600
    assert len(planned) < 5**3 + 5**2 + 5  # of the operations on the edges that leave a node
    assert {stage.source for some in stages for stage, _ in some} == {0, 1, 2}


class Activated(nn.Module):
    """A ReLU that overwrites its input, and a convolution, in a module of their own."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.relu, self.conv = nn.ReLU(inplace=True), nn.Conv2d(cin, cout, 3, stride, 1, bias=False)

    def forward(self, x):
        return self.conv(self.relu(x))


@pytest.mark.parametrize("engine", ["fused", "reference", "network"])
def test_an_operation_that_begins_in_place_changes_nothing_for_the_others(engine):
    def logits(*made):
        home = SearchSpace("own", {"cell": Cell.dense(3, ["own", "skip_connect"])}, Stages(("cell",)), made)
        genotype = home.parse("|own~0|+|skip_connect~0|own~1|")
        torch.manual_seed(0)
        if engine == "network":
            return Network(home, genotype, network_size())(noise_batch(0).x.float())
        supernet = Supernet(home, network_size(), Norm())
        supernet.engine = engine
        return supernet(noise_batch(0).x.float(), supernet.only(genotype))

    def plain(cin, cout, stride, norm):
        return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, 3, stride, 1, bias=False))

    wanted = logits(Primitive("own", plain))
    torch.testing.assert_close(
        logits(Primitive("own", lambda cin, cout, stride, norm: Activated(cin, cout, stride))), wanted
    )


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_no_images_leave_the_running_statistics(engine):
    home = SPACES[0]
    supernet = Supernet(home, network_size(), Norm())
    supernet.engine = engine
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    supernet(noise_batch(1).x[:0].float(), dense(weights(home, 1)))
    after = supernet.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if "running" in name)
