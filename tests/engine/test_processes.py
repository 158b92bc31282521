from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import process_jobs as jobs
from supernet.engine import processes
from supernet.errors import UserError
from supernet.methods import METHODS

FEW_TRIALS = {"samples": 3, "steps": 1, "every": 2, "inner_batch": 4}
NAO = {"iterations": 1, "pool": 3, "new": 2, "final": 1, "final_epochs": 1, "controller": {"epochs": 1}}
NO_DRAWS = {"drop_path": 0.0, "standalone": {"auxiliary": 0.0, "drop_path": 0.0, "dropout": 0.0}}
SHORT: dict[str, dict[str, Any]] = {
    "pc-darts": {"partial": 2, "warmup": 0.0},
    "dropnas": {"drop_rate": 0.3},
    "r-darts-dp": {"drop_path": 0.0},
    "sdarts-adv": {"ascent": 2},
    **dict.fromkeys(("zarts-mgs", "zarts-rs", "zarts-gld"), FEW_TRIALS),
    **dict.fromkeys(("nao-v2", "nao-v2-small"), NAO | NO_DRAWS),
    "enas": {"updates": 1, "samples": 2, "select": {"samples": 3}},
    "rsps": {"select": {"samples": 3}},
    "darts-pt": {"select": {"tune_epochs": 1}},
}
WITH_DRAWS = {
    "darts-2nd": {},
    "r-darts-dp": {"drop_path": 0.5},
    "zarts-gld": FEW_TRIALS,
    "nao-v2-small": NAO | {"standalone": {"auxiliary": 0.4}},
    "enas": SHORT["enas"],
}


def difference(one: Any, other: Any) -> float:
    """Return the largest difference between two states as plain data; they have the same form."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max((difference(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return max((difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, float) and not math.isnan(one):
        return abs(one - other)
    assert one == other or math.isnan(one)
    return 0.0


def read(folder: Path, count: int) -> list[Any]:
    return [torch.load(folder / f"{count} {number}.pt", weights_only=False) for number in range(count)]


def in_group(number: int, count: int) -> Any:
    return processes._as(processes._Group(number, count))


@pytest.mark.slow
def test_two_processes_search_as_one_by_every_method(tmp_path: Path) -> None:
    methods = {name: SHORT.get(name, {}) for name in METHODS}
    for count in (1, 2):
        jobs.together(count, partial(jobs.search_by_each, exact=True), methods, tmp_path)
    (alone,), (first, second) = read(tmp_path, 1), read(tmp_path, 2)
    for name in methods:
        states, architecture, learned, _ = first[name]
        assert second[name][:2] == (states, architecture), name
        assert alone[name][1] == architecture, name
        assert difference(alone[name][2], learned) < 1e-10, name


def test_three_processes_learn_the_same_though_operations_draw_different_numbers(tmp_path: Path) -> None:
    jobs.together(3, jobs.search_by_each, WITH_DRAWS, tmp_path, "two inputs")  # a space with noise
    first, *others = read(tmp_path, 3)
    for name in WITH_DRAWS:
        assert len(first[name][0]) == 2
        assert all(other[name][:2] == first[name][:2] for other in others), name


def test_two_processes_train_a_network_as_one(tmp_path: Path) -> None:
    for count in (1, 2):
        jobs.together(count, jobs.retrain_exactly, tmp_path)
    (alone,), (first, second) = read(tmp_path, 1), read(tmp_path, 2)
    assert first == second
    assert difference(alone, first) < 1e-10


def test_a_signal_to_one_process_saves_and_the_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    jobs.together(2, jobs.search_once, tmp_path / "whole", {})
    jobs.together(2, jobs.search_once, tmp_path / "cut", {}, jobs.Signalled)
    assert read(tmp_path / "cut", 2) == ["stopped by SIGTERM; the run is saved"] * 2
    jobs.together(2, jobs.search_once, tmp_path / "cut", {})
    assert read(tmp_path / "cut", 2) == read(tmp_path / "whole", 2)


def test_a_process_that_ends_stops_all_and_the_run_goes_on_in_another_number_of_them(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="exit code 9"):
        jobs.together(2, jobs.search_once, tmp_path, {"epochs": 3}, jobs.Ending)
    assert "one of the processes of this run has ended" in torch.load(tmp_path / "2 0.pt", weights_only=False)
    jobs.together(3, jobs.search_once, tmp_path, {"epochs": 3})
    assert "processes (2 there, 3 now)" in read(tmp_path, 3)[2]
    jobs.together(3, partial(jobs.search_once, resume_anyway=True), tmp_path, {"epochs": 3})
    first, *others = read(tmp_path, 3)
    assert [row["epoch"] for row in first[1]] == [1, 2, 3]
    assert others == [first, first]


def test_processes_with_other_settings_stop_with_one_line(tmp_path: Path) -> None:
    jobs.together(2, jobs.search_with_other_settings, tmp_path)
    assert read(tmp_path, 2) == ["process 1 has other settings or images: seed (1 there, 0 in the first)"] * 2


def test_shares_are_equal_and_a_batch_that_cannot_be_divided_is_refused() -> None:
    with in_group(1, 3):
        processes.check_share(66)
        with pytest.raises(UserError, match="a batch of 64 images equally: try --batch-size 63 or 66"):
            processes.check_share(64)
        with pytest.raises(UserError, match="a batch of 2 images equally: try --batch-size 3"):
            processes.check_share(2)
        with processes.alone():
            processes.check_share(64)


def test_every_process_has_its_share_of_items() -> None:
    items = list(range(8))
    assert processes.dealt([items[number::3] for number in range(3)]) == items
    assert processes.dealt([[1], [], []]) == [1]
    assert processes.dealt([[]]) == []


METHOD = """
import os, signal
from supernet.methods.blank import Blank

class Killed(Blank):
    def step(self, batches):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(batches)
"""


def test_the_command_starts_processes_and_says_in_one_line_that_one_has_ended(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(METHOD)
    words = ["search", "digits", "--images", "32", "--epochs", "1", "--width", "2", "--batch-size", "8", "--quiet"]
    command = [sys.executable, "-m", "supernet", *words, "--processes", "2", "--method", "own:Killed"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 128 + 9
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("supernet: ")
    assert line.endswith("which stops all of them; the same command goes on from the last checkpoint")
