"""Jobs carried out: commands that fail, are killed, or are stopped, and how far each has come."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

import supernet as sn
from supernet import registry
from supernet.engine.lock import is_locked, locked, running
from supernet.errors import UserError
from supernet.searching.compare import executor, measure, planning, worker
from supernet.searching.compare.commands import Job
from supernet.searching.compare.executor import Share, fitting, shared_out, sharing_images, threads_each
from supernet.searching.compare.killed import ending
from supernet.searching.compare.measure import epochs_within, resolved
from supernet.searching.compare.status import lines, seconds_left, state_of

JOB = Job("darts-0", "darts", (("darts-0", ("search", "digits", "--epochs", "4")),))
FOUND = {"passes": 10, "seconds": 2.0, "epochs": 8, "tuning": 0}


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Commands end as `endings` says, and make a run where they end well; the list of those that ran."""
    ran = []

    def prepare(*endings):
        left = list(endings)

        def run(words, log, environment, stop):
            ran.append(words)
            status, errors = left.pop(0)
            if status == 0:
                (tmp_path / "darts-0").mkdir(exist_ok=True)
                (tmp_path / "darts-0" / "summary.json").write_text('{"seconds": 3}')
            return status, errors

        monkeypatch.setattr(worker, "_run", run)
        return ran

    return prepare


def test_a_killed_command_is_started_again_and_a_finished_one_is_not(runs, tmp_path):
    ran, told = runs((-signal.SIGKILL, ""), (0, "")), []
    assert worker.carry_out(JOB, tmp_path, {}, Event(), told.append) == ""
    assert worker.carry_out(JOB, tmp_path, {}, Event(), told.append) == ""
    assert len(ran) == 2
    assert told == [
        "darts-0 was killed by SIGKILL; if memory ran out, take fewer --workers or a smaller --batch-size; "
        "started again (1 of 2)"
    ]
    assert state_of(JOB, tmp_path, {}).state == "finished"


def test_a_command_that_is_killed_again_and_again_has_failed(runs, tmp_path):
    ran = runs(*[(-signal.SIGTERM, "")] * 3)
    assert worker.carry_out(JOB, tmp_path, {}, Event()) == "killed by SIGTERM"
    assert len(ran) == 3
    assert worker.failures(tmp_path) == {"darts-0": {"darts-0": "killed by SIGTERM"}}
    worker.forget_failures(tmp_path)
    assert worker.failures(tmp_path) == {}


def test_a_mistake_is_told_by_its_line_and_not_tried_again(runs, tmp_path):
    ran = runs((2, "warning\nsupernet: setting width must be at least 1, not 0\n"))
    assert worker.carry_out(JOB, tmp_path, {}, Event()) == "setting width must be at least 1, not 0"
    assert len(ran) == 1
    state = state_of(JOB, tmp_path, worker.failures(tmp_path))
    assert lines([state], None)[1] == "failed   darts-0: setting width must be at least 1, not 0"


def test_a_command_that_fails_takes_with_it_those_within_its_folder_alone(runs, tmp_path):
    folders = (
        "darts-0",
        "darts-0/selections/perturbation",
        "darts-0/selections/perturbation/quick-0",
        "darts-0/quick-0",
    )
    ran = runs((0, ""), (2, "supernet: no selection\n"), (2, "supernet: no training\n"))
    told = worker.carry_out(replace(JOB, steps=tuple((folder, (folder,)) for folder in folders)), tmp_path, {}, Event())
    assert told == "darts-0/selections/perturbation: no selection; darts-0/quick-0: no training"
    assert [words[0] for words in ran] == [folder for folder in folders if "perturbation/" not in folder]
    assert list(worker.failures(tmp_path)["darts-0"]) == ["darts-0/selections/perturbation", "darts-0/quick-0"]


def test_what_has_failed_stops_no_other_step_that_is_added_later(runs, tmp_path):
    def job(*folders):
        return replace(JOB, steps=tuple((folder, (folder,)) for folder in ("darts-0", *folders)))

    def make(folder):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "summary.json").write_text('{"seconds": 3}')

    def state(job):
        return state_of(job, tmp_path, worker.failures(tmp_path))

    failed, beside = "darts-0/selections/perturbation", "darts-0/selections/completion"
    ran = runs((0, ""), (2, "supernet: no selection\n"), (0, ""), (0, ""))
    worker.carry_out(job(failed), tmp_path, {}, Event())
    within = state(job(failed, f"{failed}/quick-0"))
    assert (within.state, within.reason, within.seconds) == ("failed", f"{failed}: no selection", 3.0)
    assert (state(job(failed, beside)).state, state(job(failed, beside)).doing) == ("left", beside)
    assert worker.carry_out(job(failed, beside), tmp_path, {}, Event()) == f"{failed}: no selection"
    assert ran == [("darts-0",), (failed,), (beside,)]  # what has failed is not tried again
    make(beside)
    assert state(job(failed, beside)).state == "failed"
    make(failed)  # by hand
    assert (state(job(failed)).state, state(job(failed, f"{failed}/quick-0")).state) == ("finished", "left")


def test_a_note_of_a_whole_job_is_of_what_it_lacks_alone(runs, tmp_path):
    runs((0, ""))
    worker.carry_out(JOB, tmp_path, {}, Event())
    steps = tuple((folder, ()) for folder in ("darts-0", "darts-0/a", "darts-0/a/quick-0", "darts-0/quick-0"))
    worker.note(tmp_path, replace(JOB, steps=steps), "lost")
    assert worker.failures(tmp_path) == {"darts-0": {"darts-0/a": "lost", "darts-0/quick-0": "lost"}}


def test_a_real_command_that_is_stopped_ends(tmp_path, monkeypatch):
    stop = Event()
    stop.set()
    command = tmp_path / "long"
    command.write_text("#!/bin/sh\nexec sleep 60\n")
    command.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(command))
    with pytest.raises(worker.Stopped):
        worker._run(("5",), tmp_path / "logs" / "x.txt", {}, stop)


def test_a_lack_of_memory_is_told():
    assert ending(-signal.SIGKILL, "", kills=1).startswith("killed by the system, as memory ran out")
    assert ending(1, "Traceback\nValueError: no\n") == "ValueError: no"
    assert ending(3, "") == "ended with exit status 3"


def test_a_folder_tells_who_is_in_it(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        assert running(tmp_path)
    assert not is_locked(tmp_path)
    assert running(tmp_path) is None


def test_what_runs_and_the_time_left_are_read_from_files(tmp_path):
    folder = tmp_path / "darts-0"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("{}\n" * 3 + "{")
    assert (state_of(JOB, tmp_path, {}).state, state_of(JOB, tmp_path, {}).done) == ("left", 3)
    with locked(folder):
        state = state_of(JOB, tmp_path, {})
    assert (state.state, state.doing, state.done, state.total) == ("running", "search", 3, 4)
    assert seconds_left([state], {"darts": FOUND}, 2) == 2.0
    assert seconds_left([state], {}, 1) is None
    (folder / "summary.json").write_text(json.dumps({"seconds": 12}))
    done = state_of(JOB, tmp_path, {})
    assert seconds_left([done, state, state], {"darts": FOUND}, 2) == 3.0
    assert lines([done, state], 60.0)[0] == "1 finished, 1 running, 0 left, 0 failed, of 2; about 1 min 00 s left"


# --- budgets and workers


@pytest.mark.parametrize(
    ("budget", "tuning", "epochs"),
    [("epochs", 0, 8), ("passes=40", 0, 4), ("passes=49", 0, 4), ("passes=40", 3, 1), ("seconds=16", 0, 8)],
)
def test_a_budget_gives_whole_epochs(budget, tuning, epochs):
    assert epochs_within(budget, FOUND | {"tuning": tuning}) == epochs


def test_a_budget_of_less_than_an_epoch_is_a_mistake():
    with pytest.raises(UserError, match="a budget of 9 passes is less than one epoch, which takes 10"):
        epochs_within("passes=9", FOUND)


def test_the_first_method_sets_the_budget_where_none_is_given():
    assert resolved("passes", FOUND) == "passes=80"
    assert resolved("seconds=3", {}) == "seconds=3"
    parts = FOUND | {"passes": 17.33, "epochs": 40}
    assert epochs_within(resolved("passes", parts), parts) == 40
    many = FOUND | {"epochs": 500_000}
    assert epochs_within(resolved("passes", many), many) == 500_000
    with pytest.raises(UserError, match="the first method sets the budget, and cannot be had: no"):
        resolved("passes", {"error": "no"})


def test_workers_are_what_fits(monkeypatch):
    monkeypatch.setattr(executor, "cores", lambda: 8)
    monkeypatch.setattr(executor, "free_bytes", lambda: 10 * 10**9)
    assert fitting(None, 40, [], 10**9) == 8
    assert fitting(None, 40, [], 3 * 10**9) == 2
    assert fitting(None, 40, [], 3 * 10**9, 10**9) == 2
    assert fitting(None, 40, [], 2 * 10**9, 10**9) == 3
    assert fitting(None, 3, [], 0) == 3
    assert fitting(None, 40, ["0", "1"], 10**12) == 2
    assert fitting(5, 2, [], 10**12) == 2
    assert fitting(5, 40, [], 10**12) == 5
    with pytest.raises(UserError, match="every GPU belongs to one worker"):
        fitting(3, 9, ["0", "1"], 0)


TIMED = {"seconds": 6.0, "seconds_of_one_thread": 10.0}  # of two cores: 2 + 8/n with n threads


@pytest.mark.parametrize(
    ("asked", "jobs", "kept", "timed", "wanted"),
    [
        (None, 1, 0, TIMED, Share(1, 2)),
        (None, 2, 0, TIMED, Share(2, 1)),
        (None, 3, 0, TIMED, Share(1, 2)),  # 18 s, and two at a time 20 s
        (None, 5, 0, TIMED, Share(2, 1)),  # 30 s both
        (None, 3, 0, TIMED | {"seconds": 12.0}, Share(2, 1)),  # two threads are slower
        (None, 1, 0, TIMED | {"seconds": 12.0}, Share(1, 1)),
        (None, 3, 1, TIMED, Share(2, 1)),  # as runs before had it
        (None, 3, 2, None, Share(1, 2)),
        (None, 3, 0, None, Share(2, 1)),
        (1, 3, 1, TIMED, Share(1, 2)),
        (3, 3, 0, TIMED, Share(3, 1)),
    ],
)
def test_cores_are_shared_out_so_that_all_jobs_end_first(asked, jobs, kept, timed, wanted, monkeypatch):
    monkeypatch.setattr(executor, "cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    most = fitting(asked, jobs, [], 0)
    assert shared_out(asked, jobs, most, kept, timed) == wanted
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert shared_out(asked, jobs, most, kept, timed) == Share(most, 7)


@pytest.mark.parametrize(
    ("asked", "jobs", "gpus", "threads"),
    [
        (None, 30, [], 1),
        (None, 2, [], 2),
        (None, 1, [], 4),
        (2, 30, [], 2),
        (9, 30, [], 1),
        (9, 2, [], 2),
        (None, 30, ["0", "1"], 2),
        (1, 30, ["0", "1"], 4),
    ],
)
def test_runs_that_are_given_seconds_have_the_threads_with_which_most_run_at_a_time(
    asked, jobs, gpus, threads, monkeypatch
):
    monkeypatch.setattr(executor, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_each(asked, jobs, 0, len(gpus)) == threads
    kept = 0 if gpus else threads
    assert shared_out(asked, jobs, fitting(asked, jobs, gpus, 0), kept, None).threads == threads


def test_seconds_are_timed_with_the_threads_that_all_jobs_have(tmp_path, monkeypatch):
    def measured(kinds, environment, **_):
        raise UserError(f"timed with {environment['OMP_NUM_THREADS']}")

    monkeypatch.setattr(planning, "measured", measured)
    monkeypatch.setattr(executor, "cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = {"seeds": "0-1", "budget": "seconds=9", "retrain": "quick", "workers": 8, "device": "cpu", "quiet": True}
    with pytest.raises(UserError, match=r"^timed with 2$"):  # of 4 searches, and 2 retrainings of the largest cell
        sn.compare("digits", methods=["darts"], out=tmp_path / "c", **given)


def test_the_images_of_a_comparison_go_at_its_end(tmp_path):
    (tmp_path / ".images").mkdir()
    (tmp_path / ".images" / "old.pt").touch()
    with sharing_images(tmp_path, "local") as shared:
        (folder,) = map(Path, shared.values())
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    with sharing_images(tmp_path, "ray") as shared:
        assert shared == {}


def test_what_is_measured_of_a_search_counts_shared_images_apart(tmp_path, monkeypatch):
    search = {"data": "digits", "images": 60, "epochs": 2, "width": 2, "device": "cpu"}
    assert measure.measure(search)["shared_bytes"] == 0
    with sharing_images(tmp_path, "local") as shared:
        monkeypatch.setenv(*next(iter(shared.items())))
        found = measure.measure(search, one_thread=True)
    assert found["shared_bytes"] == (60 + 297) * 64
    assert found["bytes"] > 0
    assert found["seconds_of_one_thread"] > 0
    assert "seconds_of_one_thread" not in measure.measure(search)


def test_a_module_of_ones_own_may_print(tmp_path, monkeypatch):
    (tmp_path / "loud_for_test_worker.py").write_text("print('hello')\n")
    monkeypatch.setattr(registry, "OWN", [(str(tmp_path), "loud_for_test_worker")])
    found = measure.measured({"a": {"data": "digits", "epochs": 0}}, {}, one_thread=False)
    assert found == {"a": {"error": "setting epochs must be at least 1, not 0"}}
