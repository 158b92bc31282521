"""The verdicts of benchmarks/ranking.py."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def verdict(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from claims import verdict

    yield verdict
    for name in ("claims", "sides"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([0.13, 0.25, 0.37], "open"),  # above 0 by a one-sided test of 5 %, but not by the interval of 95 %
        ([0.11, 0.14, 0.17], "holds"),
        ([-0.10, -0.12, -0.14], "the opposite holds"),
        ([0.5], "open"),
        ([0.1, math.nan, 0.1], "open"),
    ],
)
def test_a_claim_holds_if_the_interval_of_its_differences_leaves_out_0(differences, words, verdict):
    assert verdict(differences) == words
