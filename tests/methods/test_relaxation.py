"""Alpha to op weights: the papers' chain rules, columns without a candidate, and where a search starts."""

from __future__ import annotations

import math

import pytest
import torch

from supernet.methods.relaxation import candidate_mask, initial_alpha, relax
from supernet.spaces import space
from supernet.testing import ragged_space

CELLS = [space("nasbench201").cells["cell"], *ragged_space().cells.values()]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=["nasbench201", "normal", "last"])
each_activation = pytest.mark.parametrize("activation", ["softmax", "sigmoid"])


def random(cell, seed):
    return torch.randn(
        len(cell.edges), cell.columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def gradient(cell, activation, alpha, g):
    alpha = alpha.clone().requires_grad_()
    p = relax(alpha, candidate_mask(cell), activation)
    p.backward(g)  # as if g = dL/dp
    return p.detach(), alpha.grad


@each_cell
def test_softmax_gradient_is_p_times_g_minus_its_mean(cell):
    alpha, g = random(cell, 0), random(cell, 1)
    p, found = gradient(cell, "softmax", alpha, g)
    for e, edge in enumerate(cell.edges):
        n = len(edge.ops)
        own = [math.exp(a) for a in alpha[e, :n].tolist()]
        own = [value / sum(own) for value in own]
        mean = sum(value * g[e, m].item() for m, value in enumerate(own))
        assert p[e, :n].tolist() == pytest.approx(own, abs=1e-14)
        assert found[e, :n].tolist() == pytest.approx(
            [v * (g[e, k].item() - mean) for k, v in enumerate(own)], abs=1e-10
        )


@each_cell
def test_sigmoid_gradient_is_p_times_one_minus_p_times_g(cell):
    alpha, g = random(cell, 0), random(cell, 1)
    p, found = gradient(cell, "sigmoid", alpha, g)
    for e, edge in enumerate(cell.edges):
        n = len(edge.ops)
        own = [1 / (1 + math.exp(-a)) for a in alpha[e, :n].tolist()]
        assert p[e, :n].tolist() == pytest.approx(own, abs=1e-14)
        assert found[e, :n].tolist() == pytest.approx(
            [v * (1 - v) * g[e, k].item() for k, v in enumerate(own)], abs=1e-10
        )


@each_cell
def test_softmax_competes_and_sigmoid_does_not(cell):
    alpha, mask = random(cell, 0), candidate_mask(cell)
    raised = alpha.clone()
    raised[:, 0] += 1
    torch.testing.assert_close(relax(alpha, mask, "softmax").sum(1), torch.ones(len(cell.edges), dtype=torch.float64))
    assert (relax(raised, mask, "softmax") < relax(alpha, mask, "softmax"))[:, 1:].equal(mask[:, 1:])
    assert relax(raised, mask, "sigmoid")[:, 1:].equal(relax(alpha, mask, "sigmoid")[:, 1:])


@each_activation
def test_columns_without_a_candidate_have_weight_and_gradient_zero(activation):
    cell = ragged_space().cells["normal"]  # 2, 3 and 2 candidates
    assert candidate_mask(cell).tolist() == [[True, True, False], [True, True, True], [True, True, False]]
    p, found = gradient(cell, activation, random(cell, 0) + 100, random(cell, 1))
    for value in (p, found):
        assert value[0, 2] == value[2, 2] == 0
        assert torch.isfinite(value).all()


@each_cell
def test_inv_n_starts_every_candidate_at_one_over_n(cell):
    mask = candidate_mask(cell)
    p = relax(initial_alpha(mask, "sigmoid", "inv_n", torch.Generator()).double(), mask, "sigmoid")
    for row, edge in zip(p.tolist(), cell.edges, strict=True):
        assert row[: len(edge.ops)] == pytest.approx([1 / len(edge.ops)] * len(edge.ops), abs=1e-7)


def test_inv_n_is_minus_log_of_the_others():
    alpha = initial_alpha(torch.ones(1, 5, dtype=torch.bool), "sigmoid", "inv_n", torch.Generator())
    assert alpha.tolist() == [pytest.approx([-1.386294] * 5, abs=1e-6)]
    alone = initial_alpha(torch.tensor([[True, False]]), "sigmoid", "inv_n", torch.Generator())
    assert alone[0, 0] == 0  # one candidate of one: 1/n would need an infinite alpha


def test_zero_starts_every_candidate_at_one_half():
    mask = candidate_mask(CELLS[1])
    alpha = initial_alpha(mask, "sigmoid", "zero", torch.Generator())
    assert relax(alpha, mask, "sigmoid").equal(0.5 * mask)


@pytest.mark.parametrize("init", ["inv_n", "zero"])
def test_softmax_starts_from_a_thousandth_of_a_normal(init):
    mask = torch.ones(100, 50, dtype=torch.bool)
    alpha = initial_alpha(mask, "softmax", init, torch.Generator().manual_seed(0))
    assert alpha.mean().item() == pytest.approx(0, abs=4e-3 / math.sqrt(5000))  # 4 sigma
    assert alpha.std().item() == pytest.approx(1e-3, abs=4e-3 / math.sqrt(2 * 5000))
    assert (alpha.abs() < 1e-3).float().mean().item() == pytest.approx(0.6827, abs=4 * 0.0066)  # normal, not uniform


def test_softmax_starts_differently_for_another_seed_and_the_same_for_the_same():
    mask = torch.ones(2, 3, dtype=torch.bool)
    a, b, c = (initial_alpha(mask, "softmax", "zero", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
