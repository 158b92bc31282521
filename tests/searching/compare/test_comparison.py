"""A whole comparison on digits: its table, its additions, and what is left of it after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import supernet as sn
from supernet.data.limits import cores
from supernet.engine.files import read_json
from waiting import holder, until

pytestmark = pytest.mark.slow

SMALL = {"images": 60, "epochs": 2, "width": 2, "device": "cpu"}


def test_a_comparison_has_a_table_and_takes_more_seeds_and_runs_nothing_twice(tmp_path, capsys):
    out, given = tmp_path / "c", {"methods": ["single-darts", "darts"], "workers": 2}
    first = sn.compare("digits", seeds="0", out=out, **given, **SMALL)
    assert [run.path.name for run in first.runs] == ["darts-0", "random-0", "single-darts-0"]
    assert "done: darts-0 in" in capsys.readouterr().out
    before = {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in first.runs}
    both = sn.compare("digits", seeds=[0, 1], out=out, quiet=True, **given, **SMALL)
    assert {path: (path / "summary.json").stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out == ""
    rows = {row.label: row for row in both.rows}
    assert list(rows) == ["single-darts", "darts", "random", "largest cell"]
    assert {result.passes for row in both.rows if row.searched for result in row.results.values()} == {2}
    assert [len(row.results) for row in both.rows] == [2, 2, 2, 2]
    assert read_json(out / "comparison.json")["config"]["budget"] == "passes=2"
    assert (out / "table.md").read_text() == both.table()
    assert "finished</strong> 6 finished" in (out / "report.html").read_text()
    assert len((out / "table.csv").read_text().splitlines()) == 1 + 3 * 2
    found = json.loads((out / "results.json").read_text())
    assert (found["baseline"], found["measure"]) == ("single-darts", "valid_accuracy")
    assert found["rows"][1]["difference"]["pairs"] == 2
    assert (both.record.threads, (out / ".images").exists()) == (max(1, cores() // 2), False)
    alone = sn.search("digits", method="single-darts", seed=0, out=tmp_path / "alone", quiet=True, **SMALL)
    assert [row["op_scores"] for row in both.runs[-2].metrics] == [row["op_scores"] for row in alone.metrics]
    assert both.status() == ["6 finished, 0 running, 0 left, 0 failed, of 6"]


def test_a_failed_run_is_told_and_raises_nothing(tmp_path, capsys):
    bad = SMALL | {"epochs": 1}  # p-darts needs three
    found = sn.compare("digits", methods=["p-darts"], seeds="0", out=tmp_path / "c", budget="epochs", workers=1, **bad)
    assert [(state.job.name, state.state) for state in found.states] == [
        ("p-darts-0", "failed"),
        ("random-0", "finished"),
    ]
    assert "failed: p-darts-0: " in capsys.readouterr().out


def test_the_passes_of_a_method_that_warms_up_are_said_to_be_the_most(tmp_path, capsys):
    wide = SMALL | {"width": 4}
    sn.compare("digits", methods=["darts", "pc-darts"], seeds="0", out=tmp_path / "c", workers=1, **wide)
    said = capsys.readouterr().out
    assert "darts: epochs 2, 4 passes" in said
    assert "pc-darts: epochs 2, at most 4 passes" in said


def test_a_killed_comparison_goes_on(tmp_path):
    out = tmp_path / "c"
    words = ["compare", "digits", "--methods", "random", "--seeds", "0-1", "--images", "400", "--epochs", "20"]
    command = [sys.executable, "-m", "supernet", *words, "--width", "2", "--workers", "1", "--out", str(out)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: holder(out / "random-0"), 120)
    first.kill()
    first.communicate()
    again = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # it waits for random-0
    os.kill(until(lambda: holder(out / "random-1"), 120), signal.SIGKILL)  # a worker
    text, errors = again.communicate(timeout=200)
    assert (again.returncode, errors) == (0, "")
    assert "random-1 was killed by" in text
    assert "started again (1 of 2)" in text
    assert sn.Comparison.read(out).status() == ["2 finished, 0 running, 0 left, 0 failed, of 2"]


def test_what_no_comparison_is_is_told(tmp_path):
    with pytest.raises(sn.UserError, match=r"is no comparison: there is no comparison\.json in it"):
        sn.Comparison.read(tmp_path)
    (tmp_path / "x").touch()
    with pytest.raises(sn.UserError, match="exists and is no comparison"):
        sn.compare("digits", out=tmp_path, quiet=True)
    with pytest.raises(sn.UserError, match="reads its images from a path"):
        sn.compare(([0], [0]), out=tmp_path)
