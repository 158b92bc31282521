"""What a search says about the eigenvalues that its monitor has measured."""

from __future__ import annotations

import json

import pytest

import supernet as sn
from supernet.searching import curvature
from supernet.testing.runs import SMALL, small_data


def rows_of(values, every):
    """One row per epoch, with the eigenvalues where they were due."""
    due = {every * number: {"eigenvalue": value} for number, value in enumerate(values)}
    return [{"epoch": epoch + 1, "diagnostics": due.get(epoch, {})} for epoch in range(every * len(values))]


@pytest.mark.parametrize(
    ("values", "every", "expected"),
    [
        ([0.5] * 11, 2, "0.5 in the end; too few epochs to tell whether it grows"),
        ([0.5] * 12, 2, "0.5 in the end; it never grew 1.3-fold in 8 epochs"),
        ([0.5] * 7 + [1.0] * 5, 2, "1 in the end; grown in epoch 23: R-DARTS would take the architecture of epoch 11"),
        ([0.5] * 12 + [1.0] * 5, 1, "1 in the end; grown in epoch 17: R-DARTS would take the architecture of epoch 11"),
        ([0.5], 2, "0.5 in the end; too few epochs to tell whether it grows"),
    ],
)
def test_the_eigenvalue_in_words(values, every, expected):
    assert curvature.in_words(rows_of(values, every)).startswith(
        f"largest eigenvalue along alpha 0.5 at first, {expected}"
    )


def test_a_search_with_the_monitor_says_it_and_draws_it(tmp_path, capsys):
    from supernet.report import console

    settings = {**SMALL, "epochs": 3, "method": "darts", "out": tmp_path / "run", "quiet": True}
    run = sn.search(small_data(), monitor="hessian", **settings)
    assert [sorted(row["diagnostics"]) for row in run.metrics] == [
        ["eigenvalue", "entropy", "margin"],
        ["entropy", "margin"],
        ["eigenvalue", "entropy", "margin"],
    ]
    assert run.summary["curvature"] == curvature.in_words(run.metrics)
    assert (run.path / "diagnostics.svg").exists()
    console.result(console.Console(), run)
    assert f"\ncurvature     {run.summary['curvature']}\n" in capsys.readouterr().out
    plain = sn.search(small_data(), **settings | {"out": tmp_path / "plain"})
    assert "curvature" not in plain.summary
    drop = ("seconds", "diagnostics")
    rows = [[{k: v for k, v in row.items() if k not in drop} for row in each.metrics] for each in (run, plain)]
    assert json.dumps(rows[0]) == json.dumps(rows[1])  # measuring changes nothing


def test_a_monitor_that_has_nothing_to_measure_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(sn.UserError, match="needs a method with alphas: RSPS has none"):
        sn.search(small_data(), monitor="hessian", method="rsps", out=tmp_path / "run", quiet=True, **SMALL)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
