"""How a run is driven: where it may go on, with how many threads, and what happens where room runs out."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from retrained import message, record
from supernet.engine.callbacks import Callback
from supernet.engine.driving import Driving, conduct
from supernet.engine.environment import as_begun, environment, note_memory
from supernet.engine.peak_memory import peak_of_process
from supernet.engine.run import Run
from supernet.errors import UserError, reason_of

CPU = torch.device("cpu")


class Hearing(Callback):
    """Keeps the lines that a user should see."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    """A run that has begun here."""
    run = Run(tmp_path / "run")
    run.start(record("search"), environment("compiled"))
    run.save_checkpoint({"epoch": 0})
    return run


def change(run: Run, **values: object) -> None:
    file = run.path / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_run_goes_on_where_it_began_without_a_word(begun):
    change(begun, command=["other"], gpu="other", supernet="9", python="9")
    with as_begun(begun, CPU, "compiled", heard := Hearing(), anyway=False):
        assert heard.lines == []


@pytest.mark.parametrize("name", ["torch", "instructions", "kernels"])
def test_a_run_goes_on_elsewhere_only_if_asked_to(begun, name):
    change(begun, **{name: "other"})
    now, heard = environment("compiled")[name], Hearing()
    changes = f"{name} (other there, {now} now)"
    assert message(as_begun(begun, CPU, "compiled", heard, anyway=False).__enter__) == (
        f"run '{begun.path}' would end with other numbers than where it began: {changes}; "
        "go on there, or here with --resume-anyway"
    )
    with as_begun(begun, CPU, "compiled", heard, anyway=True):
        assert heard.lines == [f"going on with other numbers than where run '{begun.path}' began: {changes}"]


def test_a_run_goes_on_with_its_number_of_threads(begun):
    threads = torch.get_num_threads()
    change(begun, threads=threads + 1)
    with as_begun(begun, CPU, "compiled", heard := Hearing(), anyway=False):
        assert torch.get_num_threads() == threads + 1
    assert torch.get_num_threads() == threads
    with as_begun(begun, CPU, "compiled", heard, anyway=True):
        assert torch.get_num_threads() == threads
    assert heard.lines[0] == f"going on with threads as run '{begun.path}' began: {threads + 1}, not {threads}"
    assert heard.lines[1].endswith(f" began: threads ({threads + 1} there, {threads} now)")


def test_a_run_goes_on_with_its_gpu_and_not_with_another_one_of_the_machine(begun, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"model of {device}")
    change(begun, gpu=environment("compiled", torch.device("cuda:1"))["gpu"])
    with as_begun(begun, torch.device("cuda:1"), "compiled", Callback(), anyway=False):
        pass
    said = message(as_begun(begun, torch.device("cuda:0"), "compiled", Callback(), anyway=False).__enter__)
    assert "gpu (model of cuda:1 there, model of cuda:0 now)" in said


@pytest.mark.parametrize("content", ["", "[]", '{"torch": 5}'])
def test_a_damaged_environment_is_one_line(begun, content):
    (begun.path / "environment.json").write_text(content)
    said = message(as_begun(begun, CPU, None, Callback(), anyway=False).__enter__)
    assert said.startswith(f"'{begun.path / 'environment.json'}' is damaged (")


def test_a_command_whose_path_is_no_text_damages_no_environment(begun):
    change(begun, command=["search", "digits", "--out", os.fsdecode(b"caf\xe9/run")])
    with as_begun(begun, CPU, "compiled", Callback(), anyway=False):
        pass


def test_a_run_without_a_checkpoint_may_begin_anywhere(begun):
    change(begun, torch="other")
    (begun.path / "checkpoints" / "last.pt").unlink()
    with as_begun(begun, CPU, "compiled", Callback(), anyway=False):
        pass
    begun.start(begun.config, here := environment("compiled", CPU))
    assert json.loads((begun.path / "environment.json").read_text())["torch"] == here["torch"] != "other"


def plan() -> SimpleNamespace:
    lines = {"reading": "read", "running": "running", "fixed_epochs": "", "idle": ()}
    return SimpleNamespace(seed=0, device=CPU, precision="float32", kernels=None, record=record("search"), **lines)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")])
def test_a_lack_of_memory_is_one_line(error, tmp_path):
    def make(plan):
        raise error

    said = message(conduct, Run(tmp_path / "run"), plan(), make, print, Callback())
    assert said.startswith("memory has run out: take a smaller --batch-size or --width")


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (RuntimeError("a bug"), PermissionError(errno.EACCES, "Permission denied")):

        def make(plan, error=error):
            raise error

        with pytest.raises(type(error)):
            conduct(Run(tmp_path / "run"), plan(), make, print, Callback())


def test_the_reason_of_an_error_without_the_systems_words():
    assert reason_of(OSError("a link\nin its place")) == "a link in its place"
    assert reason_of(OSError(28, "No space left on device", "file")) == "No space left on device"
    assert reason_of(OSError()) == "OSError"


def test_two_runs_at_once_in_one_folder(tmp_path):
    run, tasks = Run(tmp_path / "run"), []

    def make(plan):
        tasks.append(SimpleNamespace(epochs=0, steps=1, streams={}, snapshots=None, finished=""))
        return tasks[-1]

    def finish(task):
        assert "is in use by process" in message(conduct, Run(run.path), plan(), make, print, Callback())
        with pytest.raises(UserError, match="is in use"):
            conduct(Run(run.path), plan(), make, print, Callback(), force=True)

    conduct(run, plan(), make, finish, Callback())
    assert len(tasks) == 3


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system keeps the peak")
def test_the_peak_memory_of_a_run_is_its_own(tmp_path):
    def make(plan):
        return SimpleNamespace(epochs=0, steps=1, streams={}, snapshots=None, finished="")

    held = bytearray(b"x") * (4 * 10**8)
    before = peak_of_process()
    del held
    run = conduct(Run(tmp_path / "run"), plan(), make, lambda task: None, Callback())
    found = json.loads((run.path / "environment.json").read_text())["peak_memory"]["process"]
    assert found < before - 2 * 10**8


def test_the_peak_memory_of_a_run_is_the_largest_of_its_processes(begun):
    note_memory(begun, CPU)
    here = json.loads((begun.path / "environment.json").read_text())
    assert here["peak_memory"]["process"] > 10**7
    assert here["torch"] == torch.__version__
    change(begun, peak_memory={"process": 10**15})
    note_memory(begun, CPU)
    assert json.loads((begun.path / "environment.json").read_text())["peak_memory"] == {"process": 10**15}
    (begun.path / "environment.json").write_text("[]")
    note_memory(begun, CPU)
    assert (begun.path / "environment.json").read_text() == "[]"


@pytest.mark.parametrize("given", [None, Callback(), 3])
def test_callbacks_are_a_list(given):
    with pytest.raises(UserError, match="setting callbacks takes a list, not "):
        Driving(callbacks=given)
    assert Driving(callbacks=(Callback(),)).callbacks
