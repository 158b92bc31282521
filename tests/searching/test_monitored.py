"""A search that is watched is the one that is not, whatever its method draws and looks up in a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.searching.plan import Plan, planned
from supernet.searching.task import SearchTask
from supernet.testing import PairDataset, ragged_space, tiny_images, two_input_space
from supernet.testing.runs import PowerCut, rows_of, run_search, small_plan

SMALL = {"epochs": 4, "batch_size": 3, "width": 2, "device": "cpu"}
CASES = {
    "alpha waits": {"method": "pc-darts", "partial": 2, "warmup": 0.5},
    "each phase has streams of its own": {"method": "cdarts", "pretrain": 0.25, "warmup": 0.5, "iterations": 1},
    "noise": {"method": "darts", "space": two_input_space()},
    "drop-path": {"method": "r-darts-dp", "drop_path": 0.5, "order": 1},
}


def rows(folder: Path, **given: Any) -> list[dict[str, Any]]:
    folder.mkdir()
    torch.manual_seed(0)
    task, run = SearchTask(planned(PairDataset(tiny_images(36)), **SMALL | given)), Run(folder)
    Loop(task, run, task.epochs, Callback())()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_monitor_of_gradients_changes_nothing(case, tmp_path):
    plain = rows(tmp_path / "plain", **CASES[case])
    watched = rows(tmp_path / "watched", **CASES[case], monitor="gradients", monitor_every=2)
    assert all(row.pop("diagnostics") for row in watched)
    assert watched == plain


def test_a_watched_search_that_is_cut_where_another_network_learns_ends_as_the_whole_one(tmp_path):
    def plan() -> Plan:
        phases = {"pretrain": 0.25, "warmup": 0.67, "iterations": 1}
        return small_plan(ragged_space(), "cdarts", monitor="gradients", monitor_every=1, **SMALL | phases)

    _, whole = run_search(plan(), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run_search(plan(), tmp_path / "cut", PowerCut(9))
    _, resumed = run_search(plan(), tmp_path / "cut")
    assert rows_of(resumed) == rows_of(whole)


def test_an_interval_without_a_monitor_is_refused():
    with pytest.raises(UserError, match="monitor_every is of a monitor, and there is none: give monitor, too"):
        planned("digits", monitor_every=2)
