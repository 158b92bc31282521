"""The lock of a run folder, in and between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retrained import message, record
from supernet.engine.lock import running
from supernet.engine.run import Run
from supernet.errors import UserError

CONFIG = record("search")
HOLD = """
import sys
from supernet.engine.run import Run
with Run(sys.argv[1]).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process in the folder "run"."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_second_process_is_told_who_is_in_the_folder_until_the_first_is_killed(holder, tmp_path):
    run = Run(tmp_path / "run")
    said = message(run.held().__enter__)
    assert said.startswith(f"folder '{run.path}' is in use by process {holder.pid} on {os.uname().nodename} since 20")
    assert said.endswith(": wait until it ends, or give another place with --out")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run.held():
        run.start(CONFIG, {})
    assert run.config == CONFIG


def test_a_process_that_ends_leaves_an_empty_lock_that_hinders_no_start(tmp_path):
    run = Run(tmp_path / "run")
    for _ in range(2):
        with run.held():
            assert str(os.getpid()) in (run.path / ".holder").read_text()
        assert [(file.name, file.stat().st_size) for file in run.path.iterdir()] == [(".lock", 0)]


def test_reading_takes_no_lock_and_force_respects_those_of_selections(tmp_path):
    run = Run(tmp_path / "run")
    run.start(CONFIG, {})
    selection = Run(run.path / "selections" / "perturbation")
    with run.held(), selection.held():
        assert Run(run.path).config == CONFIG
        assert f"folder '{selection.path}' is in use by process {os.getpid()}" in message(
            run.start, CONFIG, {}, force=True
        )
        assert selection.path.exists()
    with run.held():
        run.start(CONFIG, {}, force=True)
    assert not selection.path.exists()


def test_more_epochs_leave_the_folder_of_a_selection_that_runs(tmp_path):
    run, config, longer = Run(tmp_path / "run"), CONFIG | {"epochs": 2}, CONFIG | {"epochs": 3}
    run.start(config, {})
    run.write("summary.json", "{}")
    selection = Run(run.path / "selections" / "perturbation")
    with run.held(), selection.held():
        assert f"folder '{selection.path}' is in use by process {os.getpid()}" in message(run.start, longer, {})
        assert selection.path.exists()
        assert (run.path / "summary.json").exists()
    with run.held():
        run.start(longer, {})
    assert [folder.name for folder in run.path.glob("selections/*")] == ["perturbation-epoch2"]


def test_a_holder_on_another_machine_is_believed_where_the_lock_cannot_tell(tmp_path, monkeypatch):
    def refuse(folder: Path) -> bool:
        raise PermissionError

    (tmp_path / ".holder").write_text("process 1 on another since then")
    assert running(tmp_path) is None
    monkeypatch.setattr("supernet.engine.lock.is_locked", refuse)
    assert running(tmp_path) == "process 1 on another since then"


def test_a_line_of_a_killed_process_whose_number_is_in_use_again_is_not_believed(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".holder").write_text(f"process {os.getpid()} on {os.uname().nodename} since then")
    assert running(tmp_path) is None
    with Run(tmp_path).held():
        assert f"process {os.getpid()} " in str(running(tmp_path))


def test_a_lock_through_a_link_is_refused(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="cannot write"):
        Run(tmp_path / "run").held().__enter__()
    assert (tmp_path / "mine").read_text() == "mine"
