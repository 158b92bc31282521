"""The run folder: entered again, told apart, cleared; damaged files; a crash between any two writes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrained import message, record, summary
from supernet.engine.checkpoints import START_OVER
from supernet.engine.environment import environment
from supernet.engine.files import temporary_name, write_atomically
from supernet.engine.folder import default_folder, flat
from supernet.engine.run import FORMAT, Run
from supernet.spaces.genotype import Genotype

CONFIG = record("search", seed=3, epochs=2, w={"lr": 0.1})
KNOWN = {"torch": "x"}
ROW = {"epoch": 1, "seconds": 0.5}
GENOTYPE = Genotype.of("s", {"cell": [(1, 0, "none")]})
OF_A_SEARCH = {"verdict": "healthy: it is", "target": {"width": 2, "depth": 1}, "selector": "magnitude"}
SUMMARY = summary(GENOTYPE, **OF_A_SEARCH, limits=None, latency=None, table_entry=None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "a" / "run")
    run.start(CONFIG, KNOWN)
    return run


def files(run: Run) -> dict[str, bytes]:
    return {str(file.relative_to(run.path)): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


def finish(run: Run) -> None:
    """Leave what a finished search leaves, and a file of the user's."""
    run.log(ROW)
    run.save_checkpoint({"epoch": 1})
    run.save_checkpoint({"epoch": 2}, best=True)
    for name in (
        *("genotype.json", "report.html", "cell.svg", "search.svg", "diagnostics.svg", "training.svg"),
        *("evaluation.json", "confusion.svg", "model.onnx", "model.pt2", "notes.txt"),
    ):
        run.write(name, "old")
    run.write("summary.json", json.dumps(SUMMARY))


# --- entering


def test_a_new_folder_holds_the_settings_and_the_environment(run):
    assert Run(run.path).config == CONFIG
    assert json.loads((run.path / "environment.json").read_text()) == KNOWN
    assert set(files(run)) == {"config.yaml", "environment.json"}
    assert repr(run) == f"Run('{run.path}')"


def test_opening_writes_nothing(tmp_path):
    run = Run(tmp_path / "no")
    assert (run.task, run.finished) == (None, False)
    for ask in ("config", "metrics", "summary", "genotype", "verdict"):
        assert message(getattr, run, ask) == f"'{run.path}' is no run folder"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_run_folders_names_some_of_them(run, tmp_path):
    folder = tmp_path / "runs"
    for name in ("b", "a"):
        shutil.copytree(run.path, folder / name)
    assert message(getattr, Run(folder), "config") == f"'{folder}' is no run folder, but holds a, b"
    for name in ("c", "d", "e"):
        shutil.copytree(run.path, folder / name)
    told = str(Run(folder).is_none("a search", "give another"))
    assert told == f"'{folder}' is no run folder of a search, but holds a, b, c and 2 more: give another"


def test_a_run_that_has_not_finished_says_so(run):
    assert (run.task, run.finished, run.metrics) == ("search", False, [])
    for ask in ("summary", "genotype", "verdict"):
        assert "has not finished: start it again with the same command" in message(getattr, run, ask)


def test_the_same_settings_enter_it_again_also_from_another_place(run):
    run.save_checkpoint({"epoch": 0})
    before = files(run)
    run.start(CONFIG | {"data": "/somewhere/digits"}, {"torch": "y"})
    assert files(run) == before


def test_other_settings_are_told_by_name_and_value(run):
    before = files(run)
    other = CONFIG | {"seed": 4, "w": {"lr": 0.5}, "more": True}
    assert message(run.start, other, KNOWN) == (
        f"run folder '{run.path}' was made with other settings: seed (3 there, 4 now), w.lr (0.1 there, 0.5 now), "
        "more (None there, True now); give another place with --out, or --force to start over"
    )
    assert files(run) == before


def test_a_hash_that_follows_from_other_settings_is_not_told(run):
    assert "settings: space_hash (" in message(run.start, CONFIG | {"space_hash": "b"}, KNOWN)
    assert "settings: seed (3 there, 4 now);" in message(run.start, CONFIG | {"seed": 4, "space_hash": "b"}, KNOWN)


def test_force_starts_over_and_touches_nothing_that_is_not_the_runs(run):
    finish(run)
    temporary_name(run.path / "checkpoints" / "last.pt").write_text("left by a crash")
    run.start(CONFIG | {"seed": 4}, {"torch": "y"}, force=True)
    assert set(files(run)) == {"config.yaml", "environment.json", "notes.txt"}
    assert run.config["seed"] == 4
    assert json.loads((run.path / "environment.json").read_text()) == {"torch": "y"}
    assert (run.metrics, run.finished, run.load_checkpoint(print)) == ([], False, None)


@pytest.mark.parametrize("there", [{"format": FORMAT + 1}, {"format": FORMAT - 1}, {}])
def test_a_folder_of_another_version_is_left_until_it_is_forced(run, there):
    (run.path / "config.yaml").write_text(json.dumps({"fingerprint": "f", "seed": 3} | there))
    before = files(run)
    said = (
        f"run '{run.path}' was made by another version of supernet (format {there.get('format', 1)}, this version has "
        f"{FORMAT}): start over with --force, or use that version"
    )
    assert message(run.start, CONFIG, KNOWN) == message(getattr, run, "config") == said
    assert files(run) == before
    run.start(CONFIG, KNOWN, force=True)
    assert run.config == CONFIG


def test_force_on_a_folder_that_is_not_there_makes_it(tmp_path):
    Run(tmp_path / "new").start(CONFIG, KNOWN, force=True)
    assert Run(tmp_path / "new").config == CONFIG


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_run_folder_is_left_alone(tmp_path, force):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for name in ("file", "full"):
        said = message(Run(tmp_path / name).start, CONFIG, KNOWN, force=force)
        assert said == f"'{tmp_path / name}' exists and is not a run folder: give another place with --out"
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "thesis.tex").read_text() == "mine"
    assert len(list((tmp_path / "full").iterdir())) == 1


@pytest.mark.parametrize("force", [False, True])
def test_another_programs_folder_with_a_config_yaml_is_left_alone(tmp_path, force):
    run = Run(tmp_path)
    run.write("config.yaml", "seed: 3\nmodel: mine\n")
    run.save_checkpoint({"mine": 1})
    before = files(run)
    for enter in (run.held().__enter__, lambda: run.start(CONFIG, KNOWN, force=force)):
        said = message(enter)
    assert said == f"'{tmp_path}' exists and is not a run folder: give another place with --out"
    assert files(run) == before


def test_an_empty_folder_is_taken_and_one_where_a_start_was_killed(tmp_path):
    temporary_name(tmp_path / "config.yaml").write_text("seed: ")
    (tmp_path / ".lock").touch()
    Run(tmp_path).start(CONFIG, KNOWN)
    assert set(files(Run(tmp_path))) == {"config.yaml", "environment.json", ".lock"}
    (tmp_path / "environment.json").unlink()  # killed between the two
    Run(tmp_path).start(CONFIG, KNOWN)
    assert set(files(Run(tmp_path))) == {"config.yaml", "environment.json", ".lock"}


def test_a_place_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    said = message(Run(tmp_path / "file" / "run").start, CONFIG, KNOWN)
    assert said == f"cannot write '{tmp_path / 'file' / 'run'}': Not a directory; give another place with --out"

    def forbidden(*given, **named):
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    assert "cannot write" in message(Run(tmp_path / "new").start, CONFIG, KNOWN)


@pytest.mark.parametrize("content", [b'a: "b', b"\xff\xfe\x00", b"3", b"- a\n- b", b"a: [b", b"\t"])
@pytest.mark.parametrize("force", [False, True])
def test_damaged_settings_are_told_and_left(run, content, force):
    (run.path / "config.yaml").write_bytes(content)
    before = files(run)
    said = message(run.start, CONFIG, KNOWN, force=force)
    assert said.startswith(f"'{run.path / 'config.yaml'}' cannot be read as the settings of a run: remove the folder")
    assert files(run) == before


# --- metrics and summary


def test_rows_are_appended_and_a_torn_one_is_none(run):
    for epoch in (1, 2, 3):
        run.log(ROW | {"epoch": epoch})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4')
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3]
    for epochs in (3, 2, 0):
        run.rewind(epochs)
        assert [row["epoch"] for row in run.metrics] == [1, 2, 3][:epochs]
        assert (run.path / "metrics.jsonl").read_text().count("epoch") == epochs


def test_rows_that_are_damaged_or_missing_are_told_when_the_run_goes_on(run):
    run.log(ROW)
    run.log(ROW | {"epoch": 2})
    assert f"(it lacks rows of the 3 epochs that are done): {START_OVER}" in message(run.rewind, 3)
    (run.path / "metrics.jsonl").write_text('{"epoch": 1\n{"epoch": 2}\n')
    assert message(run.rewind, 2).startswith(f"'{run.path / 'metrics.jsonl'}' is damaged (")
    run.rewind(0)
    assert run.metrics == []


def test_a_finished_run_that_lacks_rows_is_not_read_as_one_of_fewer_epochs(run):
    finish(run)
    cut = f"'{run.path / 'metrics.jsonl'}' is damaged (it has rows of 1 of 2 epochs): {START_OVER}"
    assert message(lambda: run.metrics) == cut
    stopped = {"epoch": 1, "reason": "the choice stayed"}
    run.write("summary.json", json.dumps(SUMMARY | {"stopped": stopped}))  # it ended by itself
    assert run.metrics == [ROW]
    run.write("summary.json", json.dumps(SUMMARY))
    run.log(ROW | {"epoch": 2})
    assert len(run.metrics) == 2


def test_a_run_that_finishes_while_it_is_read_lacks_nothing(run, monkeypatch):
    def read(self, real=Run._rows):
        found = real(self)
        finish(self)
        return found

    monkeypatch.setattr(Run, "_rows", read)
    assert run.metrics == []


def test_a_finished_run_tells_what_it_found(run):
    assert not run.finished
    finish(run)
    assert run.finished
    assert str(run.genotype) == "|none~0|"
    assert run.verdict == "healthy: it is"


def test_a_retraining_has_no_verdict(run):
    run = Run(run.path / "inner")
    run.start(CONFIG | {"task": "retrain"}, KNOWN)
    run.write("summary.json", json.dumps(summary(GENOTYPE)))
    assert message(getattr, run, "verdict") == f"run '{run.path}' is a retraining, which has no verdict: ask the search"


@pytest.mark.parametrize("content", ["", '{"genotype": ', "\x00\x00"])
def test_a_damaged_summary_is_told_with_what_to_do(run, content):
    finish(run)
    (run.path / "summary.json").write_text(content)
    for ask in ("summary", "finished", "genotype"):
        said = message(getattr, run, ask)
        assert said.startswith(f"'{run.path / 'summary.json'}' is damaged (")
        assert said.endswith("): remove it, and the command that made the run writes it again")


# --- checkpoints


def heard(run: Run) -> tuple[object, list[str]]:
    said: list[str] = []
    state = run.load_checkpoint(said.append)
    return None if state is None else state["number"], said


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    match how:
        case "flipped":
            content[len(content) // 2] ^= 1
        case "flipped digest":
            content[-1] ^= 1
        case "cut":
            content = content[:-7]
        case "longer":
            content += b"x"
        case "empty":
            content.clear()
    file.write_bytes(content)


HOW = ["flipped", "flipped digest", "cut", "longer", "empty"]


def checkpoints(run: Run) -> tuple[Path, Path]:
    return run.path / "checkpoints" / "last.pt", run.path / "checkpoints" / "previous.pt"


def test_the_newest_checkpoint_is_loaded_and_the_one_before_kept(run):
    assert heard(run) == (None, [])
    for number in range(3):
        run.save_checkpoint({"number": number, "w": torch.arange(3.0)})
        assert heard(run) == (number, [])
    last, previous = checkpoints(run)
    assert torch.load(previous, weights_only=True)["number"] == 1  # it is an ordinary file of torch
    assert torch.equal(torch.load(last, weights_only=True)["w"], torch.arange(3.0))
    assert len(list(last.parent.iterdir())) == 2


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_never_lost(run, how):
    run.save_checkpoint({"number": 1})
    run.save_checkpoint({"number": 2})
    last, previous = checkpoints(run)
    damage(last, how)
    assert heard(run) == (1, [f"checkpoint '{last}' is damaged; going on from the one before it"])
    good = previous.read_bytes()
    run.save_checkpoint({"number": 3})
    assert previous.read_bytes() == good  # not pushed out by the damaged one
    assert heard(run) == (3, [])


@pytest.mark.parametrize("how", HOW)
def test_when_all_are_damaged_one_line_says_what_to_do(run, how):
    run.save_checkpoint({"number": 1})
    last, previous = checkpoints(run)
    damage(last, how)
    expected = f"every checkpoint in '{last.parent}' is damaged: {START_OVER}"
    said: list[str] = []
    assert message(run.load_checkpoint, said.append) == expected
    previous.write_bytes(last.read_bytes())
    assert message(run.load_checkpoint, said.append) == expected
    assert said == []


def test_the_best_checkpoint_stays_until_there_is_a_better_one(run):
    none = f"run '{run.path}' has no best checkpoint: a retraining has one after its first epoch"
    assert message(run.load_best) == none
    for number, best, wanted in [(1, True, 1), (2, False, 1), (3, False, 1), (4, True, 4), (5, False, 4)]:
        run.save_checkpoint({"number": number}, best=best)
        assert run.load_best() == {"number": wanted}
        assert heard(run) == (number, [])
    assert {file.name for file in (run.path / "checkpoints").iterdir()} == {"last.pt", "previous.pt", "best.pt"}


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_best_checkpoint_is_told(run, how):
    run.save_checkpoint({"number": 1}, best=True)
    file = run.path / "checkpoints" / "best.pt"
    damage(file, how)
    assert message(run.load_best) == f"checkpoint '{file}' is damaged: {START_OVER}"
    assert heard(run) == (1, [])


class CrashError(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_anywhere_in_saving_leaves_a_good_checkpoint(run, at, monkeypatch):
    """At the flush of the new one, before the old one is moved, before the new one is in its place."""
    run.save_checkpoint({"number": 1})
    run.save_checkpoint({"number": 2})
    calls = []

    def crashing(real):
        def call(*given):
            calls.append(1)
            if len(calls) == at:
                raise CrashError
            return real(*given)

        return call

    monkeypatch.setattr(os, "fsync", crashing(os.fsync))
    monkeypatch.setattr(Path, "replace", crashing(Path.replace))
    with pytest.raises(CrashError):
        run.save_checkpoint({"number": 3})
    monkeypatch.undo()
    assert heard(run) == (2, [])
    run.save_checkpoint({"number": 3})
    assert heard(run) == (3, [])


def test_a_crash_between_the_best_checkpoint_and_the_last_goes_on_from_before_both(run, monkeypatch):
    run.save_checkpoint({"number": 1}, best=True)
    moved = []

    def replace(file, target, real=Path.replace):
        moved.append(Path(target).name)
        if moved[-1] != "best.pt":
            raise CrashError
        return real(file, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(CrashError):
        run.save_checkpoint({"number": 2}, best=True)
    monkeypatch.undo()
    assert moved == ["best.pt", "previous.pt"]
    assert heard(run) == (1, [])
    assert run.load_best() == {"number": 2}  # written again when the epoch is


@pytest.mark.parametrize("value", [random.Random(0), np.float64(1), np.ones(2), Path("x"), defaultdict(list)])
def test_a_value_that_a_checkpoint_would_not_give_back_is_told_when_it_is_saved(run, value):
    kind = type(value).__name__
    assert message(run.save_checkpoint, {"task": {"method": {"mine": [0, (1, value)]}}}) == (
        f"a state has a {kind} at task.method.mine[1][1], which a checkpoint would not give back: "
        "state_dict() returns tensors, numbers, strings, lists and dicts"
    )


@pytest.mark.parametrize("key", [np.int64(3), np.str_("x"), frozenset([1]), Path("x")])
def test_a_key_that_a_checkpoint_would_not_give_back_is_told_when_it_is_saved(run, key):
    kind = type(key).__name__
    assert message(run.save_checkpoint, {"task": {"method": {"scores": {key: 0.9}}}}) == (
        f"a state has a {kind} as a key of task.method.scores, which a checkpoint would not give back: "
        "state_dict() returns tensors, numbers, strings, lists and dicts"
    )


def test_a_checkpoint_gives_back_what_torch_reads(run):
    state = {
        "a": [1, (2.5, None, "x", True, b"y")],
        "b": torch.ones(2),
        "c": {1, 2},
        "d": torch.float32,
        3: {(4, 5): 6},
    }
    run.save_checkpoint(state)
    found = run.load_checkpoint(print)
    assert str(found) == str(state)


def test_a_checkpoint_is_read_without_executing_anything(run, monkeypatch):
    monkeypatch.setattr(
        "supernet.engine.checkpoints._comes_back", lambda value: True
    )  # whoever sends a file does not check it
    run.save_checkpoint({"number": 1, "thing": CrashError})
    assert (
        message(run.load_checkpoint, print)
        == f"every checkpoint in '{run.path / 'checkpoints'}' is damaged: {START_OVER}"
    )


# --- the small parts


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_flat():
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": None}, "f": {}}) == {"a": 1, "b.c.d": 2, "b.e": None}


def test_the_environment_is_what_numbers_depend_on():
    found = environment("compiled")
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert set(found) == {
        *("supernet", "torch", "python", "system", "processor"),
        *("instructions", "kernels", "threads", "processes", "gpu", "command"),
    }
    json.dumps(found)


def test_default_folders_of_different_names_differ():
    names = [
        "photos.v1",
        "photos.v2",
        "a/b",
        "a_b",
        "a\\b",
        "Füße",
        "猫",
        "🐈",
        "\x1b[31m",
        "..",
        "",
        "x" * 400,
        "x" * 401,
    ]
    folders = [default_folder(name, "nasbench201", "darts", "0") for name in names]
    assert len(set(folders)) == len(names)
    assert folders[0] == Path("runs", "photos.v1-nasbench201-darts-0")
    assert default_folder("digits", "my own", "mine:Class") == Path("runs", "digits-my own-mine.class")


@settings(derandomize=True)
@given(st.text(st.characters(exclude_categories=())))
def test_a_default_folder_can_be_made_whatever_the_data_is_called(name):
    folder = default_folder(name, "nasbench201", "darts", "0")
    assert folder.parent == Path("runs")
    assert len(folder.name.encode()) < 200
    assert folder.name.isprintable()
    assert not folder.name.startswith(".")
