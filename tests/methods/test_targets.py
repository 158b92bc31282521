"""Targets in every method that aims: they are added to the loss of alpha or taken off a reward, and to nothing else."""

from __future__ import annotations

import pytest
import torch

from supernet.engine.loop import LazyBatches
from supernet.methods import METHODS
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask

AIMING = [name for name in METHODS if METHODS[name].load().aims]
TINY = {"images": 40, "batch_size": 8, "epochs": 3, "width": 4, "device": "cpu", "seed": 3}
MORE = {
    "enas": {"updates": 1, "samples": 4},
    "p-darts": {"deeper": (0, 0, 0), "warmup": 0.0},
    "cdarts": {"pretrain": 0.0, "warmup": 0.0},
}


def task(name, **more):
    own = MORE.get(name, {"steps": 1} if name.startswith("zarts") else {})
    torch.manual_seed(0)
    return SearchTask(planned("digits", method=name, **TINY, **own, **more))


def stepped(found):
    found.begin_epoch(0 if found.method.config.__class__.__name__ in ("PDARTSConfig", "CDARTSConfig") else 2)
    found.step(LazyBatches(found.streams))
    if not hasattr(found.method, "alphas"):
        found.method.end_epoch(2, 0.5)
    return found


def learned(found):
    method = found.method
    return [*method.alphas.values()] if hasattr(method, "alphas") else [*method.policy.parameters()]


def test_the_methods_that_learn_an_architecture_aim():
    others = {"blank", "nao-v2", "nao-v2-small", "rsps", "random"}
    assert set(METHODS) - set(AIMING) == others


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in AIMING if not name.startswith("zarts")])  # theirs is in test_zarts
def test_a_step_learns_from_the_targets_too(name):
    aimed, free = task(name, target_params=80_000), stepped(task(name))
    aimed.targets.multipliers["params"] = 10.0
    stepped(aimed)
    assert aimed.targets.state_dict()["used"]
    assert not any(torch.equal(*both) for both in zip(learned(aimed), learned(free), strict=True))


def test_the_gradient_is_the_sum():
    found = task("darts", target_params=80_000)
    alphas = found.method.alphas
    given = [torch.rand_like(each) for each in alphas.parameters]
    penalty = torch.autograd.grad(found.targets(alphas.mix()), alphas.parameters)
    alphas.step(given)
    for parameter, one, other in zip(alphas.parameters, given, penalty, strict=True):
        torch.testing.assert_close(parameter.grad, one + other)
    alphas.step()  # of what is there, as a backward pass leaves it
    for parameter, one, other in zip(alphas.parameters, given, penalty, strict=True):
        assert (parameter.grad - one - 1.5 * other).abs().max() < other.abs().max()
