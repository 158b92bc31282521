"""Schedules and optimizers: their values, and their defaults."""

from __future__ import annotations

import math

import pytest
import torch

from supernet.optim import Alpha, Weights, set_rate


def parameter():
    return torch.zeros(3, requires_grad=True)


def test_the_cosine_runs_from_lr_down_to_lr_min_and_is_halfway_in_the_middle():
    w = Weights(lr=0.025, lr_min=0.001)
    assert w.rate(0, 50) == 0.025
    assert w.rate(25, 50) == pytest.approx(0.013)
    assert w.rate(50, 50) == pytest.approx(0.001)
    assert w.rate(10, 40) == pytest.approx(0.001 + 0.024 * (2 + math.sqrt(2)) / 4)


def test_the_cosine_is_torchs():
    w = Weights(lr=0.3, lr_min=0.01)
    optimizer = w.optimizer([parameter()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.01)
    for epoch in range(7):
        assert w.rate(epoch, 7) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_the_default_cosine_ends_at_zero():
    assert Weights().rate(40, 40) == pytest.approx(0, abs=1e-12)


def test_set_rate_sets_every_group():
    optimizer = torch.optim.SGD([{"params": [parameter()], "lr": 1}, {"params": [parameter()], "lr": 2}], lr=3)
    set_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_the_weights_optimizer_has_its_settings():
    weights = Weights(lr=0.3, momentum=0.7, nesterov=True, weight_decay=0.01)
    (group,) = weights.optimizer([parameter()]).param_groups
    wanted = {"lr": 0.3, "momentum": 0.7, "nesterov": True, "weight_decay": 0.01, "dampening": 0}
    assert {name: group[name] for name in wanted} == wanted
    assert type(weights.optimizer([parameter()])) is torch.optim.SGD


@pytest.mark.parametrize(
    ("alpha", "kind", "wanted"),
    [
        (Alpha("adam"), torch.optim.Adam, {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 0.0, "eps": 1e-8}),
        (Alpha("adam", lr=0.1, weight_decay=1e-3), torch.optim.Adam, {"lr": 0.1, "weight_decay": 1e-3}),
        (Alpha("sgd"), torch.optim.SGD, {"lr": 0.07, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}),
        (Alpha("sgd", lr=0.0, weight_decay=0.5), torch.optim.SGD, {"lr": 0.0, "momentum": 0.9, "weight_decay": 0.5}),
        (Alpha(), torch.optim.SGD, {"lr": 0.07}),
    ],
)
def test_alphas_optimizer_has_its_settings_and_its_papers_defaults(alpha, kind, wanted):
    # sgd follows the weights' first learning rate, and nothing else of theirs
    optimizer = alpha.make([parameter()], Weights(lr=0.07, momentum=0.1, nesterov=True, weight_decay=0.3))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in wanted} == wanted


def test_adams_decay_is_added_to_the_gradient():  # L2, as in DARTS' code: with no gradient of its own it still moves
    value = torch.ones(1, requires_grad=True)
    optimizer = Alpha("adam", lr=0.1, weight_decay=1e-3).make([value], Weights())
    value.grad = torch.zeros(1)
    optimizer.step()
    assert value.item() == pytest.approx(0.9, abs=1e-5)
