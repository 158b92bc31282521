"""A schedule that moves with every step: the rates of all steps in closed form, for every method, also when resumed."""

from __future__ import annotations

import functools
import math

import pytest

from supernet.engine import driving, loop, optim
from supernet.engine.run import Run
from supernet.methods.differentiable import Differentiable
from supernet.spaces import space
from supernet.testing import shortened
from supernet.testing.runs import PowerCut, run_search, run_selection, small_plan

HOME = shortened(space("nasbench201"))
STEPS = 3  # of an epoch: 18 training images in batches of 6
W = {"lr": 0.1, "lr_min": 0.02, "per_step": True}
IMAGES = {"images": 36, "batch_size": 6, "w": W}


def cosine(moment, length, lr=0.1, lr_min=0.02):
    return lr_min + (lr - lr_min) * (1 + math.cos(math.pi * moment / length)) / 2


def moments(epochs):
    return [step / STEPS for step in range(epochs * STEPS)]


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of every step of a network's weights."""
    seen, real = [], optim.SGD.step

    def step(optimizer):
        (group,) = optimizer.param_groups
        if group["foreach"]:  # the alphas' is another one
            seen.append(group["lr"])
        return real(optimizer)

    monkeypatch.setattr(optim.SGD, "step", step)
    monkeypatch.setattr(driving, "Loop", functools.partial(loop.Loop, save_every=0))  # a checkpoint after every step
    return seen


def pairs(values, factor):
    return [each for value in values for each in (factor * value, value)]


CASES = {
    "differentiable": (Differentiable, {"epochs": 2}, [cosine(t, 2) for t in moments(2)]),
    "enas": (
        "enas",
        {"epochs": 4, "updates": 1, "samples": 2, "w": W | {"restart": 2}, "selector": "magnitude"},
        [cosine(t, 2) for t in moments(2)] * 2,
    ),
    "random": (
        "random",
        {"epochs": 4, "epochs_each": 2},
        [cosine(t, 2) for t in moments(2)] * 2,
    ),
    "p-darts": (
        "p-darts",
        {"epochs": 3, "deeper": [0, 0], "candidates": [2], "dropout": [0.0, 0.0]},
        [cosine(t, 1) for t in moments(1)] + [cosine(t, 2) for t in moments(2)],
    ),
    "cdarts": (
        "cdarts",
        {"epochs": 2, "pretrain": 0.0, "warmup": 0.0, "iterations": 1, "evaluation_rate": 2.0},
        pairs([cosine(t, 2) for t in moments(2)], 2),
    ),
    "nao-v2": (
        "nao-v2",
        {"epochs": 6, "iterations": 2, "pool": 3, "new": 2, "final": 1, "final_epochs": 2}
        | {"controller": {"epochs": 1}, "standalone": {"auxiliary": 0.0}},
        [cosine(t, 2) for t in moments(2)] * 3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rates_of_all_steps_are_those_of_their_places_also_after_a_cut(name, rates, tmp_path):
    method, settings, wanted = CASES[name]
    given = {**IMAGES, **settings}
    with pytest.raises(RuntimeError, match="power cut"):
        run_search(small_plan(HOME, method, **given), tmp_path, PowerCut(STEPS + 2))
    done = Run(tmp_path).load_checkpoint(print)
    assert (done["epoch"], done["done"]) == (1, 1)
    each = len(wanted) // (given["epochs"] * STEPS)
    del rates[each * (STEPS + 1) :]  # the step that was cut off
    run_search(small_plan(HOME, method, **given), tmp_path)
    assert rates == pytest.approx(wanted, rel=1e-12)


def test_a_selection_moves_its_cosine_with_every_step_and_begins_it_once(rates, tmp_path):
    plan = small_plan(HOME, Differentiable, **IMAGES | {"epochs": 1, "w": W | {"restart": 1}})
    _, run = run_search(plan, tmp_path / "search")
    for schedule in ("cosine", "constant"):
        rates.clear()
        settings = {"tune_epochs": 1, "criterion": "magnitude", "lr_schedule": schedule, "lr": 0.05}
        run_selection((plan, run), "perturbation", settings, tmp_path / schedule)
        falls = [cosine(t, 5, 0.05, 0.4 * 0.05) for t in moments(5)]
        assert rates == pytest.approx(falls if schedule == "cosine" else [0.05] * 5 * STEPS, rel=1e-12)
