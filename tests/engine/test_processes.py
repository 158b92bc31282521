from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import process_jobs as jobs
from supernet.engine import process_group, processes
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.models.shared_norm import share_norms

FEW_TRIALS = {"samples": 3, "steps": 1, "every": 2, "inner_batch": 4, "eval_batches": 2}
NAO = {"epochs": 3, "iterations": 2, "pool": 3, "new": 2, "final": 1, "final_epochs": 1, "controller": {"epochs": 1}}
NO_DRAWS = {"drop_path": 0.0, "standalone": {"auxiliary": 0.0, "drop_path": 0.0, "dropout": 0.0}}
SHORT: dict[str, dict[str, Any]] = {
    "pc-darts": {"partial": 2, "warmup": 0.0},
    "p-darts": {"deeper": [0, 1], "candidates": [2], "dropout": [0.0, 0.0], "warmup": 0.0},
    "cdarts": {"pretrain": 0.0, "warmup": 0.0, "iterations": 2},
    "dropnas": {"drop_rate": 0.3},
    "r-darts-dp": {"drop_path": 0.0},
    "sdarts-adv": {"ascent": 2},
    **dict.fromkeys(("zarts-mgs", "zarts-rs", "zarts-gld"), FEW_TRIALS),
    **dict.fromkeys(("nao-v2", "nao-v2-small"), NAO | NO_DRAWS),
    "enas": {"updates": 1, "samples": 2, "select": {"samples": 3}},
    "rsps": {"select": {"samples": 3}},
    "darts-pt": {"select": {"tune_epochs": 1}},
}


def difference(one: Any, other: Any) -> float:
    """Return the largest difference between two states as plain data; they have the same form."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max((difference(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return max((difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if one == other:
        return 0.0
    assert isinstance(one, float)
    if math.isfinite(one) and math.isfinite(other):
        return abs(one - other)
    return 0.0 if math.isnan(one) and math.isnan(other) else math.inf


def read(folder: Path, name: str, count: int) -> list[Any]:
    return [torch.load(folder / f"{name} {number}.pt", weights_only=False) for number in range(count)]


def in_group(number: int, count: int) -> Any:
    return process_group._as(process_group._Group(number, count))


@pytest.mark.slow
def test_two_processes_search_as_one_by_every_method_and_retrain_as_one(tmp_path: Path) -> None:
    methods = {name: SHORT.get(name, {}) for name in METHODS}
    for count in (1, 2):
        jobs.together(count, jobs.work_exactly, methods, tmp_path)
    (alone,), (first, second) = read(tmp_path, "1", 1), read(tmp_path, "2", 2)
    for name in methods:
        states, architecture, learned, _ = first[name]
        assert second[name][:2] == (states, architecture), name
        assert alone[name][1] == architecture, name
        assert difference(alone[name][2], learned) < 1e-10, name
    (alone,), (first, second) = read(tmp_path, "retrained 1", 1), read(tmp_path, "retrained 2", 2)
    assert first == second
    assert difference(alone, first) < 1e-10


@pytest.mark.slow
def test_a_latency_that_the_first_process_has_measured_alone_is_told_to_all(tmp_path: Path) -> None:
    jobs.together(2, jobs.measures_alone_first, tmp_path)
    first, second = read(tmp_path, "measured", 2)
    assert first == second > 0


SHARED: dict[str, dict[str, Any]] = {
    "single-darts": {"engine": "fused", "checkpointing": True},
    "sdarts-adv": {"ascent": 2, "norm_track": False},
    **{name: SHORT.get(name, {}) for name in ("darts", "darts-2nd", "rsps", "zarts-mgs", "nao-v2")},
}


@pytest.mark.slow
def test_processes_that_share_batch_norm_train_as_one(tmp_path: Path) -> None:
    methods = {1: list(SHARED), 2: list(SHARED), 3: ["single-darts", "darts-2nd"]}
    for count, names in methods.items():
        jobs.together(count, jobs.share_norms_exactly, {name: SHARED[name] for name in names}, tmp_path)
    (alone,), (retrained,), (derived,) = (read(tmp_path, f"{what}1", 1) for what in ("", "retrained ", "derived "))
    for count in (2, 3):
        first, *others = read(tmp_path, f"{count}", count)
        for name in methods[count]:
            assert all(other[name][:2] == first[name][:2] for other in others), name
            assert alone[name][1] == first[name][1], name
            assert difference(alone[name][2], first[name][2]) < 1e-10, name
        assert difference(retrained, read(tmp_path, f"retrained {count}", count)[0]) < 1e-10
        assert difference(derived, read(tmp_path, f"derived {count}", count)[0]) < 1e-10


def test_only_batch_norm_of_pytorch_is_shared_and_nothing_in_one_process() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())
    share_norms(network)
    assert type(network[0]) is nn.BatchNorm2d
    own = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm1d(2))
    with in_group(1, 2), pytest.raises(UserError, match=r"norm_shared shares nn.BatchNorm2d, and 1 is a BatchNorm1d"):
        share_norms(own)


@pytest.mark.slow
def test_processes_stop_together_go_on_and_learn_the_same(tmp_path: Path) -> None:
    jobs.together(2, jobs.ends_of_searches, tmp_path)
    first, second = read(tmp_path, "2", 2)
    line = "process 1 has other settings or images: seed (1 there, 0 in the first)"
    assert first["other settings"] == second["other settings"] == line
    assert first["other images"] == second["other images"]
    assert first["other images"].startswith(
        "process 1 has other settings or images: images (25 there, 24 in the first)"
    )
    assert ", fingerprint (" in first["other images"]
    line = "process 1 has other settings or images: force (True there, False in the first)"
    assert first["other driving"] == second["other driving"] == line
    assert first["wrong driving"] == second["wrong driving"] == "setting log takes text, not 0"
    assert first["alone"] == second["alone"]
    assert first["alone"].startswith("the processes have learned different things")
    assert first["signalled"] == second["signalled"] == "stopped by SIGTERM; the run is saved"
    assert first["resumed"] == second["resumed"] == first["whole"] == second["whole"]
    assert "one of the processes of this run has ended" in read(tmp_path, "lost", 1)[0]
    jobs.together(3, jobs.goes_on, tmp_path)
    found = read(tmp_path, "goes on", 3)
    assert all("processes (2 there, 3 now)" in one["refused"] for one in found)
    rows, state = found[0]["resumed"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(one["resumed"] == (rows, state) for one in found)
    first, *others = read(tmp_path, "3", 3)
    for name in jobs.WITH_DRAWS:  # though operations draw other numbers in each
        assert len(first[name][0]) == 2
        assert all(other[name][:2] == first[name][:2] for other in others), name


def test_shares_are_equal_and_a_batch_that_cannot_be_divided_is_refused() -> None:
    with in_group(1, 3):
        processes.check_share(66)
        with pytest.raises(UserError, match="a batch of 64 images equally: try --batch-size 63 or 66"):
            processes.check_share(64)
        with pytest.raises(UserError, match="a batch of 2 images equally: try --batch-size 3"):
            processes.check_share(2)
        with process_group.alone():
            processes.check_share(64)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("[pair.cc:547] Connection closed by peer\nmore"),
            r"run has ended, .* \(\[pair.cc:547\] .* peer\)$",
        ),
        (dist.DistNetworkError("recv got 0 bytes"), r"run has ended, .*the last checkpoint \(recv got 0 bytes\)$"),
        (dist.DistBackendError("NCCL error: unhandled\nmore"), "^the processes .* together: NCCL error: unhandled$"),
    ],
    ids=["gloo", "store", "nccl"],
)
def test_only_a_lost_connection_is_told_as_the_end_of_a_process(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(process_group, "_store", dist.HashStore)
    monkeypatch.setattr(dist, "init_process_group", fail)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=told), process_group.joined():
        pass


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

class Listening(Blank):
    def end_epoch(self, epoch, valid_accuracy):
        for process in (os.getpid(), os.getppid()):
            own = {os.readlink(each.path) for each in os.scandir(f"/proc/{process}/fd") if each.is_symlink()}
            for table in ("tcp", "tcp6"):
                for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
                    words = line.split()
                    if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                        print("listens", words[1].partition(":")[0], flush=True)
        return super().end_epoch(epoch, valid_accuracy)

class Large(Blank):
    def end_epoch(self, epoch, valid_accuracy):
        if os.environ["RANK"] == "1":
            raise MemoryError
        return super().end_epoch(epoch, valid_accuracy)
"""


def on_two(method: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Search with a method of `METHOD` by the command, in two processes."""
    (folder / "own.py").write_text(METHOD)
    words = ["search", "digits", "--images", "32", "--epochs", "1", "--width", "2", "--batch-size", "8", "--quiet"]
    command = [sys.executable, "-m", "supernet", *words, "--processes", "2", "--method", f"own:{method}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux' list of sockets")
def test_processes_of_the_command_listen_on_the_loopback_address_alone(tmp_path: Path) -> None:
    done = on_two("Listening", tmp_path)
    assert done.returncode == 0, done.stderr
    found = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("listens")}
    assert found == {"0100007F"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "status", "why"),
    [
        ("Killed", 128 + 9, "which stops all of them; the same command goes on from the last checkpoint"),
        ("Large", 2, "memory has run out: take a smaller --batch-size"),
    ],
)
def test_the_command_starts_processes_and_says_in_one_line_why_they_end(
    method: str, status: int, why: str, tmp_path: Path
) -> None:
    done = on_two(method, tmp_path)
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("supernet: ")
    assert why in line
