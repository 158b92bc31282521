"""What a caller has set for the whole of PyTorch changes no run."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
import torch

import supernet as sn
from supernet.engine.defaults import plain_torch

SMALL = {"epochs": 1, "quiet": True, "device": "cpu"}


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def everything():
    with torch.inference_mode(), float64(), torch.device("meta"):
        yield


def bfloat16():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def as_usual(tmp_path_factory):
    return results(tmp_path_factory.mktemp("as-usual"))


def defaults():
    autocast = torch.is_autocast_enabled("cpu")
    return torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), autocast


def results(folder):
    """Return what a search, a retraining, an evaluation and the loaded network give."""
    run = sn.search("digits", images=40, width=2, out=folder / "search", **SMALL)
    trained = sn.retrain(run, width=2, depth=1, **SMALL)
    weights = next(sn.load(trained).parameters())
    accuracy = sn.evaluate(trained, device="cpu").accuracy
    return run.metrics[0]["loss"], trained.metrics[0]["loss"], accuracy, weights.dtype, weights.tolist()


@pytest.mark.parametrize(
    "caller",
    [
        *(pytest.param(one, marks=pytest.mark.slow) for one in (torch.no_grad, float64, lambda: torch.device("meta"))),
        everything,
        bfloat16,
    ],
)
def test_a_run_has_the_same_bits_whatever_the_caller_has_set(caller, as_usual, tmp_path):
    with caller():
        before = defaults()
        assert results(tmp_path) == as_usual
        assert defaults() == before


def test_the_type_of_new_tensors_comes_back_after_the_last_of_several_threads():
    inside, leave = threading.Event(), threading.Event()

    def compute():
        with plain_torch():
            inside.set()
            leave.wait(10)

    with float64():
        other = threading.Thread(target=compute)
        other.start()
        inside.wait(10)
        with plain_torch():
            pass
        assert torch.get_default_dtype() == torch.float32  # the other thread still computes
        leave.set()
        other.join()
        assert torch.get_default_dtype() == torch.float64
