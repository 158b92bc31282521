"""DropNAS against its definition: what is dropped how often, a step written out, and the probability that is kept."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.methods.base import Budget
from supernet.methods.dropnas import DropNAS, DropNASConfig, decay
from supernet.models.mix import EdgeMix
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch

OPS = ("none", "nor_conv_1x1", "skip_connect", "nor_conv_3x3", "avg_pool_3x3")
TWO_EDGES = SearchSpace(
    "two edges", {"cell": Cell((Edge(1, 0, OPS), Edge(2, 1, (*OPS[1:3], "nor_conv_3x3"))))}, Stages(("cell",))
)
WEIGHTS = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.2, clip=0.3)
SGD = AlphaOptimizerConfig("sgd", lr=0.5, weight_decay=0.1)
ADAM = AlphaOptimizerConfig("adam", lr=0.1, weight_decay=0.1)
BATCH = noise_batch(1)
pytestmark = pytest.mark.usefixtures("still_noise")
each_space = pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)


def make(home=TWO_EDGES, drop=0.4, alpha=SGD, seed=3):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    method = DropNAS(DropNASConfig(drop, alpha), supernet, Budget(5, WEIGHTS, seed))
    with torch.no_grad():  # away from the start, where all op weights are equal
        for number, values in enumerate(method.alphas.values()):
            values += torch.randn(values.shape, generator=torch.Generator().manual_seed(number)).double()
    return method


def next_of(method):
    """Return the operations that the next step keeps."""
    state = method.generator.get_state()
    kept = method.draw()
    method.generator.set_state(state)
    return kept


def kept_probabilities(size, drop):
    """Return the probability of each set of kept operations of a group: independent, given that it is not empty."""
    rate = drop ** (1 / size)
    sets = {kept: math.prod(1 - rate if on else rate for on in kept) for kept in itertools.product((0, 1), repeat=size)}
    return {kept: p / (1 - drop) for kept, p in sets.items() if any(kept)}


def test_operations_are_dropped_as_often_as_defined():
    method, draws = make(), 1500
    found = [method.draw()["cell"].int() for _ in range(draws)]
    learned, others = kept_probabilities(2, 0.4), kept_probabilities(3, 0.4)
    expected = {(a, b): learned[a] * others[b] for a in learned for b in others}
    counts = Counter((tuple(d[0, [1, 3]].tolist()), tuple(d[0, [0, 2, 4]].tolist())) for d in found)
    assert set(counts) <= set(expected)
    assert sum((counts[k] - draws * p) ** 2 / (draws * p) for k, p in expected.items()) < 45.3  # 20 degrees, 0.1 %
    assert all(d[1, 1] for d in found)  # the only operation of its group
    assert not any(d[1, 3:].any() for d in found)  # columns without a candidate


@each_space
@pytest.mark.parametrize("drop", [0.0, 0.7])
def test_every_group_keeps_an_operation(home, drop):
    method = make(home, drop)
    for _ in range(30):
        for kind, kept in method.draw().items():
            for edge, row in zip(home.cells[kind].edges, kept.tolist(), strict=True):
                groups = Counter(home.primitive(op).learned for op in edge.ops)
                found = Counter(home.primitive(op).learned for op, on in zip(edge.ops, row, strict=False) if on)
                assert set(found) == set(groups)
                assert drop or found == groups


@each_space
@pytest.mark.parametrize("alpha", [SGD, ADAM], ids=["sgd", "adam"])
def test_the_probability_of_the_kept_operations_stays_and_so_do_the_dropped_alphas(home, alpha):
    method, moved = make(home, alpha=alpha), 0.0
    for _ in range(4):
        kept = next_of(method)
        before, p = {k: a.detach().clone() for k, a in method.alphas.items()}, method.op_scores()
        method.step({"weights": BATCH})
        for kind, after in method.op_scores().items():
            on = kept[kind]
            torch.testing.assert_close((after * on).sum(-1), (p[kind] * on).sum(-1), rtol=1e-12, atol=1e-14)
            assert torch.equal(method.alphas[kind][~on], before[kind][~on])
            moved += (after - p[kind]).abs().sum().item()
    assert moved > 0.01


def test_a_step_is_the_papers():
    method = make()
    supernet = copy.deepcopy(method.supernet)
    supernet.engine = "reference"
    alpha = method.alphas["cell"].detach().clone()
    buffers = [torch.zeros_like(w) for w in supernet.parameters()]
    velocity = torch.zeros_like(alpha)
    for _ in range(3):
        kept = next_of(method)["cell"]
        method.step({"weights": BATCH})

        values = alpha.clone().requires_grad_()
        total = (values.exp() * kept).sum(-1, keepdim=True)
        p = values.exp() * kept / total
        weights = list(supernet.parameters())
        loss = F.cross_entropy(supernet(BATCH.x, {"cell": EdgeMix(p, tuple(map(_numbers, kept)))}), BATCH.y)
        slope, *gradient = torch.autograd.grad(loss, [values, *weights], allow_unused=True)
        scale = min(1, 0.3 / (sum(g.square().sum() for g in gradient if g is not None).sqrt() + 1e-6))
        with torch.no_grad():
            for weight, buffer, part in zip(weights, buffers, gradient, strict=True):
                if part is None:
                    continue
                buffer.mul_(0.8).add_(scale * part)
                weight -= 0.1 * buffer
                weight[part != 0] *= 1 - 0.1 * 0.2
        velocity = 0.9 * velocity + slope
        stepped = alpha - 0.5 * velocity
        stepped[slope.abs() > 1e-7] *= 1 - 0.5 * 0.1
        for e, row in enumerate(kept):
            constant = (alpha[e, row].exp().sum() / stepped[e, row].exp().sum()).log()
            alpha[e, row] = stepped[e, row] + constant
        assert torch.allclose(method.alphas["cell"].detach(), alpha, atol=1e-12)
        for one, other in zip(method.weights, weights, strict=True):
            assert torch.allclose(one, other, atol=1e-12)
    assert all(group["weight_decay"] == 0 for group in method.optimizer.param_groups)


def test_the_weights_alone_take_the_step_that_they_take_with_alpha():
    both, alone = make(), make()
    before = alone.alphas["cell"].detach().clone()
    for method, step in ((both, both.step), (alone, alone.train_weights)):
        step({"weights": BATCH})
        assert method.generator.get_state().equal(both.generator.get_state())
    assert all(torch.equal(*pair) for pair in zip(both.weights, alone.weights, strict=True))
    assert torch.equal(alone.alphas["cell"], before)
    assert not torch.equal(both.alphas["cell"], before)


def test_decay_leaves_entries_with_a_small_gradient_and_tensors_without_one():
    values = [torch.ones(4, requires_grad=True), torch.ones(1, requires_grad=True)]
    values[0].grad = torch.tensor([0.0, 1e-8, 1e-6, -1.0])
    optimizer = torch.optim.SGD(values, lr=0.5)
    decay(values, optimizer, 0.2, 1e-7)
    assert values[0].tolist() == pytest.approx([1, 1, 0.9, 0.9])
    decay(values, optimizer, 0.2, 0.0)
    assert values[0].tolist() == pytest.approx([1, 0.9, 0.81, 0.81])
    assert values[1].item() == 1


@pytest.mark.parametrize(("largest", "left"), [(9e-8, 1), (9e-6, 0.95)])
def test_an_alpha_decays_where_its_gradient_is_above_a_ten_millionth(largest, left, monkeypatch):
    method, twin = make(), make()
    twin.step({"weights": BATCH})
    scale = largest / twin.alphas["cell"].grad.abs().max()
    monkeypatch.setattr(method, "loss", lambda logits, y: scale * F.cross_entropy(logits, y))
    kept, before = next_of(method)["cell"], method.alphas["cell"].detach().clone()
    method.step({"weights": BATCH})
    for row, after, on in zip(before, method.alphas["cell"].detach(), kept, strict=True):
        leads = (values[on] - values[on].mean() for values in (after, left * row))  # all have moved by one constant
        torch.testing.assert_close(*leads, rtol=0, atol=1e-4)


def _numbers(row):
    return tuple(row.nonzero().flatten().tolist())


def test_dropped_operations_do_not_run_and_their_weights_stay():
    method = make()
    (layer,) = (m for m in method.supernet.layers if hasattr(m, "ops"))
    dropped = 0
    for _ in range(6):
        kept, before = next_of(method)["cell"], copy.deepcopy(layer.ops.state_dict())
        method.step({"weights": BATCH})
        for e, k in ((e, k) for e, row in enumerate(layer.ops) for k in range(len(row))):
            norms = [m for m in layer.ops[e][k].modules() if isinstance(m, nn.BatchNorm2d)]
            changed = [
                n for n, v in layer.ops.state_dict().items() if n.startswith(f"{e}.{k}.") and (v != before[n]).any()
            ]
            assert bool(changed) == bool(norms and kept[e, k])
            dropped += bool(norms) and not kept[e, k]
    assert dropped > 0


def test_the_seed_decides_the_draws_and_a_state_goes_on_with_them():
    method, same, other = make(), make(), make(seed=4)
    drawn = [[m.draw()["cell"].tolist() for _ in range(10)] for m in (method, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    assert [other.draw()["cell"].tolist() for _ in range(5)] == [method.draw()["cell"].tolist() for _ in range(5)]
