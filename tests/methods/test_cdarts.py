"""CDARTS: a step by hand, what each loss reaches, its schedule, and what is penalised."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import supernet as sn
from retrained import message
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.methods.base import Budget
from supernet.methods.cdarts import CDARTS, CDARTSConfig
from supernet.models.mix import detached
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm
from supernet.spaces.operations import Primitive
from supernet.testing import noise_batch
from supernet.testing.runs import small_data

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
TWO_EDGES = SearchSpace("two", {"first": Cell.dense(2, OPS), "last": Cell.dense(2, OPS)}, Stages(("first", "last")))
SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
SGD = SGDConfig(lr=0.1, momentum=0.9, weight_decay=0.01, clip=0)
ALPHA = AlphaOptimizerConfig("adam", lr=0.02, weight_decay=1e-3)


def made(home=TWO_EDGES, epochs=20, **config):
    config = CDARTSConfig(**{"alpha": ALPHA, **config})

    def new_supernet(space, size):
        return Supernet(space, size, Norm(affine=False)).double()

    torch.manual_seed(0)
    return CDARTS(config, new_supernet(home, SIZE), Budget(epochs, SGD, 3, new_supernet=new_supernet))


def ensembled(ensemble, outputs):
    """Return the logits of an ensemble of two stages, written out."""
    (head,), (first, second) = ensemble.heads, ensemble.shares.exp() / ensemble.shares.exp().sum()
    return first * head(outputs[1].clamp(min=0).mean((2, 3))) + second * outputs[-1]


@pytest.mark.parametrize(("kl", "deeper", "balance"), [("elements", 0, 1.0), ("images", 1, 2.0)])
def test_a_step_moves_the_evaluation_network_and_alpha_and_then_the_search_network(kl, deeper, balance):
    """The reference writes loss, divergence and penalty out, in plain autograd."""
    method, twin = (made(kl=kl, deeper=deeper, balance=balance) for _ in range(2))
    batch, other = noise_batch(0), noise_batch(1)
    for one in (method, twin):
        one.begin_epoch(7)  # 3 epochs after the pre-training, and 3 of 16
        assert (one.phase, one.coefficient) == ("search", 5 * (1 - 2 * 3 / 16))
        with torch.no_grad():
            one.ensembles[0].shares.copy_(torch.tensor([0.3, -0.1]))
    alphas = [alpha.detach().clone().requires_grad_() for alpha in twin.alphas.values()]

    def mix():
        return {
            kind: replace(edges, weights=alpha.exp() / alpha.exp().sum(1, keepdim=True))
            for (kind, edges), alpha in zip(twin.mix().items(), alphas, strict=True)
        }

    def outputs(network, mix, x):
        found = []
        for number, layer in enumerate(network.layers):
            x = layer([x], mix[network.kinds[number]]) if network.kinds[number] else layer(x)
            found.append(x)
        return found

    s, e = outputs(twin.supernet, mix(), other.x), outputs(twin.evaluation, twin.path, other.x)
    place = 1 + deeper  # of the last cell of the first stage, behind the stem
    z_s = ensembled(twin.ensembles[0], s)
    z_e = ensembled(twin.ensembles[1], [e[0], e[place], e[-1]])
    p_s, p_e = ((z / 2).exp() / (z / 2).exp().sum(1, keepdim=True) for z in (z_s, z_e))
    divergence = (p_e * (p_e / p_s).log()).sum() / (p_e.numel() if kl == "elements" else len(p_e))
    loss = (F.cross_entropy(s[-1], other.y) + F.cross_entropy(e[-1], other.y)) / balance + balance * 4 * divergence
    loss = loss + twin.coefficient * sum(alpha[:, 0].abs().sum() for alpha in alphas) / 2  # of `none`, on two edges
    taught = [*twin.evaluation.parameters(), *twin.ensembles.parameters()]
    gradients = torch.autograd.grad(loss, [*taught, *alphas], allow_unused=True)
    for parameter, gradient in zip([*taught, *alphas], gradients, strict=True):
        parameter.grad = gradient
    rate = SGD.rate(7, 20)
    torch.optim.SGD(taught, lr=2 * rate, momentum=0.9, weight_decay=0.01).step()
    torch.optim.Adam(alphas, lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3).step()
    weights = torch.optim.SGD(twin.supernet.parameters(), lr=rate, momentum=0.9, weight_decay=0.01)
    F.cross_entropy(twin.supernet(batch.x, detached(mix())), batch.y).backward()
    weights.step()

    method.step({"weights": batch, "alpha": other})
    for found, expected in zip(method.alphas.values(), alphas, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    for found, expected in zip(
        [*method.taught, *method.weights], [*twin.taught, *twin.supernet.parameters()], strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_the_joint_loss_reaches_what_it_should_and_nothing_else():
    method = made()
    method.begin_epoch(7)
    before = [weight.clone() for weight in method.weights]
    method._teach(noise_batch(1))
    assert all(torch.equal(weight, old) for weight, old in zip(method.weights, before, strict=True))
    assert all(weight.grad is None for weight in method.weights)
    on_path = {id(p) for p in method.taught if p.grad is not None}
    heads = {id(p) for p in method.ensembles.parameters()}
    assert heads <= on_path
    chosen = method.supernet.space.columns(method.genotype)
    for cell, kind in zip(method.evaluation.mixed_cells, ("first", "last"), strict=True):
        for k, op in enumerate(cell.ops[0]):
            assert all((id(p) in on_path) == (k == chosen[kind][0]) for p in op.parameters())
    alphas = [alpha.detach().clone() for alpha in method.alphas.values()]
    evaluation = [weight.clone() for weight in method.taught]
    method.phase = "pretrain"
    method.step({"weights": noise_batch(0)})
    assert all(torch.equal(*pair) for pair in zip(method.alphas.values(), alphas, strict=True))
    assert all(torch.equal(*pair) for pair in zip(method.taught, evaluation, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(method.weights, before, strict=True) if pair[0].numel() > 1)


def test_the_gradient_of_the_evaluation_network_and_the_heads_is_clipped_and_that_of_alpha_is_not():
    gradients = []
    for clip in (0.0, 0.01):
        method = made()
        method.budget = replace(method.budget, weights=replace(SGD, clip=clip))
        method.begin_epoch(7)
        method._teach(noise_batch(1))
        learned = ([p.grad for p in some if p.grad is not None] for some in (method.taught, method.alphas.parameters))
        gradients.append([torch.cat([part.flatten() for part in parts]) for parts in learned])
    (whole, alpha), (clipped, same) = gradients
    assert whole.norm() > 0.02
    torch.testing.assert_close(clipped, 0.01 * whole / whole.norm(), rtol=1e-4, atol=1e-10)
    assert torch.equal(alpha, same)


def test_fixed_parameters_of_an_operation_stay_as_they_are():
    class Blur(nn.Module):
        def __init__(self, cin, cout, stride, norm):
            super().__init__()
            self.kernel, self.stride = nn.Parameter(torch.full((cout, 1, 3, 3), 1 / 9), requires_grad=False), stride

        def forward(self, x):
            return F.conv2d(x, self.kernel, None, self.stride, 1, 1, len(self.kernel))

    blur = Primitive("blur", Blur, learned=False)
    cells = {"cell": Cell.dense(2, ("nor_conv_1x1", "blur"))}
    method = made(SearchSpace("blurred", cells, Stages(("cell",)), primitives=(blur,)))
    fixed = [parameter for parameter in method.evaluation.parameters() if not parameter.requires_grad]
    before = [parameter.clone() for parameter in fixed]
    for method.phase in ("warmup", "search"):
        method.step({"weights": noise_batch(1), "alpha": noise_batch(2)})
    assert fixed
    assert all(map(torch.equal, fixed, before))


def test_the_evaluation_network_warms_up_alone_on_validation_images():
    method = made()
    method.begin_epoch(7)
    method.phase = "warmup"
    weights = [weight.clone() for weight in method.weights]
    alphas = [alpha.detach().clone() for alpha in method.alphas.values()]
    first = method.step({"alpha": noise_batch(1)})["loss"]
    for _ in range(8):
        last = method.step({"alpha": noise_batch(1)})["loss"]
    assert last < first
    assert all(torch.equal(*pair) for pair in zip(method.weights, weights, strict=True))
    assert all(torch.equal(*pair) for pair in zip(method.alphas.values(), alphas, strict=True))


def test_a_selector_trains_both_networks_whatever_the_epoch_that_the_search_was_in():
    method, batches = made(), {"weights": noise_batch(0), "alpha": noise_batch(1)}
    method.begin_epoch(7)
    method.step(batches)
    method.phase = "warmup"
    method.begin_tuning()
    method.set_rate(0.3)
    assert not method.optimizer.state
    assert not method.evaluation_optimizer.state
    rates = [group["lr"] for one in (method.optimizer, method.evaluation_optimizer) for group in one.param_groups]
    assert rates == [0.3, 0.6]
    before = [[weight.clone() for weight in weights] for weights in (method.weights, method.taught)]
    method.step(batches)
    for old, new in zip(before, (method.weights, method.taught), strict=True):
        assert any(not torch.equal(*pair) for pair in zip(old, new, strict=True))


def test_the_schedule_of_phases_and_of_the_penalty():
    method, phases, coefficients, renewed = made(epochs=26, warmup=0.25, pretrain=0.24), [], [], []
    for epoch in range(26):
        before = method.path
        method.begin_epoch(epoch)
        phases.append(method.phase[0])
        coefficients.append(method.coefficient)
        if method.path is not before:
            renewed.append(epoch)
    assert "".join(phases) == "pppppp" + "wsss" * 5
    assert renewed == [6, 10, 14, 18, 22]
    assert coefficients[6:] == pytest.approx([5 * max(0, 1 - e / 10) for e in range(20)])
    rounded = made(epochs=50, pretrain=0.58)  # 0.58 * 50 is 28.999999999999996
    rounded.begin_epoch(28)
    assert rounded.phase == "pretrain"
    short = made(epochs=2, pretrain=0.0)
    for epoch in range(2):
        short.begin_epoch(epoch)
        assert short.phase == "search"


@pytest.mark.parametrize(
    ("home", "which", "told"),
    [
        ("nasbench201", "auto", {"none"}),
        ("darts", "auto", {"skip_connect", "max_pool_3x3", "avg_pool_3x3"}),
        ("darts", "none", {"none"}),
        ("nasbench201", "unlearned", {"skip_connect", "avg_pool_3x3"}),
    ],
)
def test_the_penalty_is_on_none_where_it_may_be_chosen_and_else_on_operations_without_weights(home, which, told):
    method = made(space(home), penalised=which)
    found = set()
    for kind, cell in method.supernet.space.cells.items():
        for edge, row in zip(cell.edges, method.masks[kind].tolist(), strict=True):
            found |= {op for op, penalised in zip(edge.ops, row, strict=False) if penalised}
    assert found == told


def test_a_space_without_any_of_the_penalised_operations_has_no_penalty():
    home = SearchSpace("convolutions", {"cell": Cell.dense(2, OPS[2:])}, Stages(("cell", "cell")))
    assert made(home)._penalty() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"pretrain": 1.0}, "pretrain"), ({"iterations": 0}, "iterations"), ({"penalised": "pools"}, "penalised")],
)
def test_settings_that_cannot_be_had_are_one_line(settings, told):
    assert f"setting {told}" in message(lambda: sn.search(small_data(), method="cdarts", quiet=True, **settings))
