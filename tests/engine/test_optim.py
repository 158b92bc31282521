"""Schedules and optimizers: their values, and their defaults."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig, set_rate
from supernet.errors import UserError
from supernet.settings import amend


def parameter():
    return torch.zeros(3, requires_grad=True)


def test_the_cosine_runs_from_lr_down_to_lr_min_and_is_halfway_in_the_middle():
    w = SGDConfig(lr=0.025, lr_min=0.001)
    assert w.rate(0, 50) == 0.025
    assert w.rate(25, 50) == pytest.approx(0.013)
    assert w.rate(50, 50) == pytest.approx(0.001)
    assert w.rate(10, 40) == pytest.approx(0.001 + 0.024 * (2 + math.sqrt(2)) / 4)


def test_the_cosine_is_torchs():
    w = SGDConfig(lr=0.3, lr_min=0.01)
    optimizer = w.optimizer([parameter()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.01)
    for epoch in range(7):
        assert w.rate(epoch, 7) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_the_default_cosine_ends_at_zero():
    assert SGDConfig().rate(40, 40) == pytest.approx(0, abs=1e-12)


def test_the_exponential_is_torchs_and_runs_towards_lr_min():
    w = SGDConfig(lr=0.1, schedule="exponential", gamma=0.97)
    optimizer = w.optimizer([parameter()])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    for epoch in range(250):
        assert w.rate(epoch, 250) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()
    w = SGDConfig(lr=0.5, lr_min=0.1, schedule="exponential", gamma=0.5)
    assert [w.rate(epoch, 9) for epoch in (0, 1, 3)] == pytest.approx([0.5, 0.3, 0.15])


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        *[(0, 0.5), (1, 0.5 * 244 / 245), (120, 0.5 * 125 / 245), (244, 0.5 / 245)],
        *[(245, 0.5 * 5 / 1225), (246, 0.5 * 4 / 1225), (249, 0.5 / 1225)],
    ],
)
def test_the_line_is_pdarts_with_a_flatter_end(epoch, rate):
    assert SGDConfig(lr=0.5, schedule="linear").rate(epoch, 250) == pytest.approx(rate, rel=1e-12)


def test_a_line_of_few_epochs_is_plain_and_one_with_lr_min_ends_above_it():
    w = SGDConfig(lr=0.5, lr_min=0.1, schedule="linear")
    assert [w.rate(epoch, 4) for epoch in range(4)] == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert [w.rate(epoch, 6) for epoch in range(6)] == pytest.approx([0.5, 0.5, 0.42, 0.34, 0.26, 0.18])


def test_a_warm_up_multiplies_the_first_rates():
    w = SGDConfig(lr=0.5, schedule="linear", warmup=5)
    wanted = [0.1, 0.2 * 244 / 245, 0.3 * 243 / 245, 0.4 * 242 / 245, 0.5 * 241 / 245, 0.5 * 240 / 245]
    assert [w.rate(epoch, 250) for epoch in range(6)] == pytest.approx(wanted, rel=1e-12)
    w = SGDConfig(lr=0.2, warmup=2)
    assert [w.rate(epoch, 4) for epoch in (0, 1, 2)] == pytest.approx([0.1, 0.1 + 0.05 * math.sqrt(2), 0.1])


def test_a_cosine_that_begins_again_does_so_after_every_few_epochs():
    w, once = SGDConfig(lr=0.05, lr_min=0.0005, restart=10), SGDConfig(lr=0.05, lr_min=0.0005)
    assert [w.rate(epoch, 250) for epoch in range(30)] == [once.rate(epoch, 10) for epoch in range(10)] * 3


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize(
    ("schedule", "s"),
    [
        ("cosine", lambda t: (1 + math.cos(math.pi * t / 8)) / 2),
        ("exponential", lambda t: 0.97**t),
        ("linear", lambda t: (3 - t) / 3 if t < 2 else 1 / 3 if t < 3 else (8 - t) / 15),
    ],
)
def test_a_schedule_moves_with_every_step_without_a_leap(schedule, s, warmup):
    w = SGDConfig(lr=0.5, lr_min=0.1, schedule=schedule, warmup=warmup, per_step=True)
    moments = [(epoch, (step, 40)) for epoch in range(8) for step in range(40)]
    rates = [w.rate(epoch, 8, within) for epoch, within in moments]
    factors = [min(1, (k + 1) / (40 * warmup)) if warmup else 1 for k in range(320)]
    assert rates == pytest.approx([(0.1 + 0.4 * s(k / 40)) * factors[k] for k in range(320)], rel=1e-12)
    assert all(abs(a - b) < 0.02 for a, b in itertools.pairwise(rates))
    if not warmup:
        assert rates[::40] == [w.rate(epoch, 8) for epoch in range(8)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"restart": 10, "schedule": "linear"}, "setting w.restart is of the cosine schedule, not of linear"),
        ({"schedule": "step"}, "setting w.schedule takes 'cosine', 'linear' or 'exponential', not 'step'"),
        ({"gamma": 0.0}, "setting w.gamma must be above 0, not 0.0"),
        ({"gamma": 1.5}, "setting w.gamma must be at most 1, not 1.5"),
        ({"gamma": math.nan}, "setting w.gamma must be a finite number, not nan"),
        ({"warmup": -1}, "setting w.warmup must be at least 0, not -1"),
    ],
)
def test_mistakes_in_a_schedule(changes, said):
    with pytest.raises(UserError) as caught:
        amend(SGDConfig(), changes)
    assert str(caught.value).startswith(said)


def test_set_rate_sets_every_group():
    optimizer = torch.optim.SGD([{"params": [parameter()], "lr": 1}, {"params": [parameter()], "lr": 2}], lr=3)
    set_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_the_weights_optimizer_has_its_settings():
    weights = SGDConfig(lr=0.3, momentum=0.7, nesterov=True, weight_decay=0.01)
    (group,) = weights.optimizer([parameter()]).param_groups
    wanted = {"lr": 0.3, "momentum": 0.7, "nesterov": True, "weight_decay": 0.01, "dampening": 0}
    assert {name: group[name] for name in wanted} == wanted
    assert isinstance(weights.optimizer([parameter()]), torch.optim.SGD)


@pytest.mark.parametrize(
    ("alpha", "kind", "wanted"),
    [
        (
            AlphaOptimizerConfig("adam"),
            torch.optim.Adam,
            {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 0.0, "eps": 1e-8},
        ),
        (AlphaOptimizerConfig("adam", beta1=0.9), torch.optim.Adam, {"lr": 3e-4, "betas": (0.9, 0.999)}),
        (AlphaOptimizerConfig("adam", lr=0.1, weight_decay=1e-3), torch.optim.Adam, {"lr": 0.1, "weight_decay": 1e-3}),
        (
            AlphaOptimizerConfig("sgd"),
            torch.optim.SGD,
            {"lr": 0.07, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False},
        ),
        (
            AlphaOptimizerConfig("sgd", lr=0.0, weight_decay=0.5),
            torch.optim.SGD,
            {"lr": 0.0, "momentum": 0.9, "weight_decay": 0.5},
        ),
        (AlphaOptimizerConfig(), torch.optim.SGD, {"lr": 0.07}),
    ],
)
def test_alphas_optimizer_has_its_settings_and_its_papers_defaults(alpha, kind, wanted):
    # sgd follows the weights' first learning rate, and nothing else of theirs
    optimizer = alpha.make([parameter()], SGDConfig(lr=0.07, momentum=0.1, nesterov=True, weight_decay=0.3))
    assert isinstance(optimizer, kind)
    assert {name: optimizer.param_groups[0][name] for name in wanted} == wanted


def test_adams_decay_is_added_to_the_gradient():  # L2, as in DARTS' code: with no gradient of its own it still moves
    value = torch.ones(1, requires_grad=True)
    optimizer = AlphaOptimizerConfig("adam", lr=0.1, weight_decay=1e-3).make([value], SGDConfig())
    value.grad = torch.zeros(1)
    optimizer.step()
    assert value.item() == pytest.approx(0.9, abs=1e-5)
