"""Patience: counts by hand, and a search that it ends."""

from __future__ import annotations

from itertools import pairwise

import pytest

import supernet as sn
from retrained import message
from supernet.searching import results
from supernet.searching.compare.cases import cases
from supernet.searching.compare.config import ComparisonConfig
from supernet.searching.patience import unchanged

SMALL = {"images": 60, "width": 2, "device": "cpu", "quiet": True}


def scores(*leads):
    """Op scores whose choice is the first letter of each, and which differ by the second."""
    return [{"cell": [[ord(lead[0]), ord(lead[-1])]]} for lead in leads]


@pytest.mark.parametrize(
    ("leads", "count"),
    [
        ((), 0),
        (("a1",), 0),
        (("a1", "a2"), 1),
        (("b1", "a2", "a3"), 1),
        (("a1", "a2", "b3"), 0),
        (("b0", "a1", "a2", "a3", "a4"), 3),
        (("a1", "a2", "a3", "a4", "a5", "a6"), 3),  # no more are counted
        (("a1", "a1", "a1", "a1"), 0),  # alpha does not learn yet
        (("a1", "a1", "a2", "a3"), 2),
        (("b1", "a2", "a2", "a3"), 2),  # an epoch in which nothing moved, as of CDARTS in a warm-up
        (("b1", "a2", "a2", "a2"), 2),  # nothing is left to gain
    ],
)
def test_epochs_count_that_leave_the_choice_as_it_was_once_alpha_learns(leads, count):
    assert unchanged(scores(*leads), lambda table: table["cell"][0][0], 3) == count


@pytest.fixture
def _no_pictures(monkeypatch):
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)


@pytest.mark.usefixtures("_no_pictures")
def test_a_search_ends_where_the_same_search_without_patience_had_stayed_for_so_long(tmp_path):
    whole = sn.search("digits", epochs=12, out=tmp_path / "whole", **SMALL)
    run = sn.search("digits", epochs=12, patience=2, out=tmp_path / "run", **SMALL)
    chosen = [row["architecture"] for row in whole.metrics]
    end = next(epoch for epoch in range(3, 12) if len(set(chosen[epoch - 3 : epoch])) == 1)
    assert [row["architecture"] for row in run.metrics] == chosen[:end]
    assert run.summary["architecture"] == chosen[end - 1]
    assert run.summary["stopped"] == {"epoch": end, "reason": "the choice has stayed the same for 2 epochs"}
    assert sn.search("digits", epochs=12, patience=2, out=tmp_path / "run", **SMALL).summary == run.summary


@pytest.mark.usefixtures("_no_pictures")
def test_the_choice_of_patience_is_within_the_limits(tmp_path):
    run = sn.search("digits", epochs=12, patience=1, max_params="80k", out=tmp_path, **SMALL)
    chosen = [row["architecture"] for row in run.metrics]
    assert (chosen[-2] == chosen[-1], len(chosen)) == (True, run.summary["stopped"]["epoch"])
    assert all(one != other for one, other in pairwise(chosen[:-1]))


@pytest.mark.parametrize("method", ["random", "rsps", "nao-v2-small", "p-darts", "cdarts"])
def test_a_method_without_one_choice_of_the_whole_search_is_refused(method, tmp_path):
    text = message(sn.search, "digits", method=method, epochs=6, patience=2, out=tmp_path / "run", **SMALL)
    assert text == f"method '{method}' has no choice that could stay: leave patience out"
    assert not (tmp_path / "run").exists()


def test_a_comparison_leaves_patience_to_the_methods_that_have_it():
    config = ComparisonConfig("digits", methods=["single-darts", "rsps"], settings={"patience": 2, "epochs": 3})
    found = {case.method: case.settings(config).get("patience") for case in cases(config)}
    assert found == {"single-darts": 2, "rsps": None, "random": None}


def test_a_forecast_says_that_patience_may_end_it():
    assert sn.forecast("digits", epochs=3, patience=2, images=60, width=2, device="cpu").may_stop
