"""The Hessian of the loss with respect to the alphas, against PyTorch's own, and what a measurement leaves alone."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.blank import Blank
from supernet.methods.differentiable import Differentiable
from supernet.methods.gdas import GDAS
from supernet.methods.hessian import hessian, largest_eigenvalue
from supernet.methods.hessian_monitor import HessianMonitor
from supernet.methods.monitors import MONITORS, MonitorName
from supernet.models.mix import dense
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch

_, RAGGED, TWO, *_ = EXAMPLE_SPACES


def make(kind=Differentiable, home=RAGGED, **config):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    batch = noise_batch(1)
    budget = Budget(epochs=3, weights=SGDConfig(), seed=0, validation_batches=lambda: iter([batch]))
    method = kind(kind.Config(**config), supernet, budget)
    with torch.no_grad():
        for alpha in getattr(method, "alphas", {}).values():
            alpha.add_(torch.linspace(-1, 1, alpha.numel(), dtype=alpha.dtype).view(alpha.shape))
    return method, batch


def by_torch(method, batch, activation):
    """The same Hessian by torch.autograd.functional, on a vector of all alphas."""
    method.supernet.engine = "reference"
    alphas = method.alphas

    def loss(vector):
        values, start = {}, 0
        for kind, mask in alphas.masks.items():
            size = int(mask.sum())
            part = torch.zeros(mask.shape, dtype=torch.float64).masked_scatter(mask, vector[start : start + size])
            if activation == "softmax":
                weights = torch.softmax(part.masked_fill(~mask, -math.inf), -1)
            else:
                weights = torch.sigmoid(part) * mask
            values[kind], start = weights, start + size
        return F.cross_entropy(method.supernet(batch.x, dense(values)), batch.y)

    return torch.autograd.functional.hessian(loss, alphas.flat())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_it_is_the_hessian_of_all_alphas(activation):
    method, batch = make(activation=activation, regime="different_subset")
    found = hessian(method, batch)
    assert found.shape == (sum(method.alphas.sizes),) * 2
    expected = by_torch(method, batch, activation)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert largest_eigenvalue(found) == pytest.approx(torch.linalg.eigvals(expected).real.max().item())
    assert largest_eigenvalue(found) > 1e-4


def test_of_a_method_that_runs_paths_it_is_that_of_the_relaxation():
    method, batch = make(GDAS)
    assert torch.allclose(hessian(method, batch), by_torch(method, batch, "softmax"), rtol=1e-9, atol=1e-12)


def test_the_largest_eigenvalue_is_the_largest_and_not_that_of_the_largest_size():
    assert largest_eigenvalue(torch.tensor([[-5.0, 1.0], [1.0, 1.0]])) == pytest.approx(-2 + 10**0.5)
    assert largest_eigenvalue(torch.tensor([[1.0, 4.0], [0.0, 1.0]])) == pytest.approx(3)  # of the symmetric part
    assert math.isnan(largest_eigenvalue(torch.tensor([[math.inf, 0.0], [0.0, 1.0]])))


def test_a_measurement_changes_nothing():
    method, batch = make(home=TWO, regime="different_subset")  # it has the operation noise
    before = {name: value.clone() for name, value in method.supernet.state_dict().items()}
    random_state, first = torch.get_rng_state(), hessian(method, batch)
    assert torch.equal(torch.get_rng_state(), random_state)
    torch.rand(1)  # the noise of an operation does not depend on the draws of the search
    assert torch.equal(hessian(method, batch), first)
    assert all(torch.equal(before[name], value) for name, value in method.supernet.state_dict().items())
    assert method.supernet.engine == "fused"
    assert all(w.grad is None for w in [*method.weights, *method.alphas.values()])


def test_its_passes_are_one_of_each_alpha_and_one_of_the_loss():
    method, batch = make()
    before, found = method.supernet.passes, hessian(method, batch)
    assert method.supernet.passes == before + 1 + len(found)


def test_the_monitor_measures_every_so_many_epochs_and_the_op_weights_in_each():
    method, batch = make(activation="softmax", regime="different_subset")
    monitor = HessianMonitor(method, 2)
    rows = [monitor.end_epoch(epoch) for epoch in range(3)]
    eigenvalue = largest_eigenvalue(hessian(method, batch))
    assert [row.get("eigenvalue") for row in rows] == [eigenvalue, None, eigenvalue]
    for kind, edges in method.mix().items():
        for e, mask in enumerate(method.alphas.masks[kind]):
            p = edges.weights[e][mask].tolist()
            best, second, *_ = [*sorted(p, reverse=True), 0.0]
            assert rows[0]["entropy"][kind][e] == pytest.approx(-sum(x * math.log(x) for x in p))
            assert rows[0]["margin"][kind][e] == pytest.approx(best - second)


def test_entropy_is_that_of_the_shares_of_an_edge():
    method, _ = make(activation="sigmoid", sigmoid_init="zero")
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha.fill_(-40.0)  # op weights near 0
    row = HessianMonitor(method).end_epoch(1)
    for kind, masks in method.alphas.masks.items():
        assert row["entropy"][kind] == pytest.approx([math.log(int(mask.sum())) for mask in masks])
        assert row["margin"][kind] == pytest.approx([0] * len(masks))


def test_a_method_without_alphas_has_nothing_to_monitor():
    method, _ = make(Blank)
    with pytest.raises(UserError, match="monitor hessian needs a method with alphas: Blank has none to monitor"):
        HessianMonitor(method)


def test_its_config_names_every_monitor():
    assert set(MONITORS) == set(get_args(MonitorName))
