"""The numbers of docs/parity.md: the package computes what the plain supernets of the benchmarks do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
QUANTITIES = 8


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import parity

    yield parity
    for name in ("parity", "plain", "sides"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["nasbench201", "darts"])
def test_passes_and_steps_of_both_orders_are_those_of_the_plain_supernet(number, parity):
    case = parity.CASES[number]
    plain = parity.by_plain(case, torch.float64)
    ours = parity.by_package(case, "fused", torch.float64)
    assert len(plain) == len(ours) == QUANTITIES
    differences = {name: parity.difference(ours[name], plain[name]) for name in plain}
    assert all(value < 1e-9 for value in differences.values()), differences
    assert all(
        tensor.abs().max() > 0
        for name in ("gradient of alpha", "second order: steps of alpha")
        for tensor in plain[name]
    )
