from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from torch.distributed.launcher.api import LaunchConfig

from conftest import Call
from supernet.cli import launch
from supernet.cli.parsing import Arguments
from supernet.engine import one_machine
from supernet.engine.process_group import LAUNCHER, MEETING, SPOKEN
from supernet.errors import UserError


def test_the_processes_get_the_command_without_the_options_that_start_them() -> None:
    given = ["digits", "--processes", "2", "--seed", "2", "--gpus=0", "--processes=3", "--out", "x"]
    assert launch._without(given) == ["digits", "--seed", "2", "--out", "x"]


@pytest.mark.parametrize("words", ["--processes 0", "--processes 2 --gpus 2", "--gpus -1"])
def test_counts_that_start_nothing_are_one_line(words: str) -> None:
    with pytest.raises(UserError, match="--processes N or --gpus N"):
        launch.launched("search", ["digits", *words.split()])


def test_more_gpus_than_there_are_and_processes_of_processes_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="GPUs, not 99"):
        launch.launched("search", ["digits", "--gpus", "99"])
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="several already"):
        launch.launched("search", ["digits", "--processes", "2"])


def test_a_forecast_refuses_the_processes_that_the_search_would_refuse(call: Call) -> None:
    status, _, error = call("search", "digits", "--images", "60", "--dry-run", "--gpus", "99")
    assert (status, "GPUs, not 99" in error) == (2, True)


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        ("search digits", "; the same command goes on from here"),
        ("retrain run --force", "; the same command without --force goes on from here"),
        ("tabular --out traces", "; the same command goes on from here"),
        ("tabular", ""),
        ("search digits --dry-run", ""),
        ("", ""),
        ("predict run a.png", ""),
    ],
)
def test_a_command_that_was_stopped_says_whether_it_goes_on(
    command: str, goes_on: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(given: Arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("supernet.cli._dispatch", stop)
    assert call(*command.split()) == (130, "", f"supernet: stopped{goes_on}\n")


def test_one_process_is_this_one() -> None:
    assert not launch.launched("search", ["digits", "--processes", "1"])


def test_the_cores_that_may_be_used_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(config: LaunchConfig, program: str) -> Callable[..., None]:
        raise UserError(f"{config.nproc_per_node} processes of {os.environ['OMP_NUM_THREADS']} threads")

    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "9")
    for name in ("OMP_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"):
        monkeypatch.delenv(name)  # as it was, in the end
    for name in (LAUNCHER, SPOKEN, MEETING):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(one_machine, "on_loopback", lambda: None)
    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", start)
    monkeypatch.setattr("logging.disable", lambda level: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    with pytest.raises(UserError, match=r"^2 processes of 3 threads$"):
        launch.launched("search", ["digits", "--processes", "2"])


CHILD = """
import time
from supernet.engine.process_group import end_with_launcher
end_with_launcher()
print("started", flush=True)
time.sleep(600)
"""
KILLED = f"""
import os, signal, subprocess, sys
os.environ["{LAUNCHER}"] = str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_the_one_that_started_them() -> None:
    # It was killed, so it cannot stop them; their end of the pipe is open as long as one of them lives.
    environment = {name: value for name, value in os.environ.items() if name != LAUNCHER}
    command = [sys.executable, "-c", KILLED, CHILD]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as killed:
        assert killed.communicate(timeout=120) == (None, b"")
