"""The loop alone, on a task that only counts: order of events, checkpoints, interruption, going on."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path

import pytest
import torch

from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop, Task
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.engine.signals import ENDING, Interrupted
from supernet.errors import UserError
from watched import Numbers

EPOCHS, STEPS = 3, 4


class Counting(Task):
    """A task whose loss is the number of the batch, and that keeps a sum with noise of torch's in it."""

    def __init__(self):
        self.streams = {"numbers": Numbers(STEPS)}
        self.events, self.total = [], torch.zeros(())

    def begin_epoch(self, epoch):
        self.events.append(f"begin {epoch}")

    def step(self, batches):
        self.events.append(f"step {batches['numbers']}")
        self.total = self.total + torch.rand(())
        return {"loss": torch.tensor(float(batches["numbers"]))}

    def end_epoch(self, epoch, means):
        self.events.append(f"end {epoch}")
        return {"loss": means["loss"], "total": self.total.item()}

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


class Choosing(Counting):
    """Says that the second epoch is better than the first, and that the third is not."""

    def end_epoch(self, epoch, means):
        return super().end_epoch(epoch, means) | {"best": epoch < 2}


class Noting(Callback):
    """Notes what it is told, and does something at one step."""

    def __init__(self, at=0, act=None):
        self.told, self.at, self.act, self.count = [], at, act, 0

    def start(self, epochs, steps, done):
        self.told.append(("start", epochs, steps, done))

    def step(self):
        self.count += 1
        if self.count == self.at:
            self.act()

    def epoch(self, row):
        self.told.append(("epoch", row["epoch"]))

    def stop(self):
        self.told.append(("stop",))


class PowerCutError(Exception):
    pass


def cut_power():
    raise PowerCutError


def interrupt():
    signal.raise_signal(signal.SIGINT)


def interrupt_twice():
    interrupt()
    interrupt()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tmp_path


def go(folder, callback=None, save_every=60.0, kind=Counting):
    folder.mkdir(exist_ok=True)
    task = kind()
    Loop(task, Run(folder), EPOCHS, callback or Callback(), save_every)()
    return task


def rows(folder):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in Run(folder).metrics]


def test_epochs_steps_means_and_what_a_watcher_is_told(folder):
    callback = Noting()
    task = go(folder, callback)
    assert task.events == [
        *("begin 0", "step 0", "step 1", "step 2", "step 3", "end 0"),
        *("begin 1", "step 4", "step 5", "step 6", "step 7", "end 1"),
        *("begin 2", "step 8", "step 9", "step 10", "step 11", "end 2"),
    ]
    assert [(row["epoch"], row["loss"]) for row in rows(folder)] == [(1, 1.5), (2, 5.5), (3, 9.5)]
    assert all(row["seconds"] >= 0 for row in Run(folder).metrics)
    assert callback.count == EPOCHS * STEPS
    assert callback.told == [("start", EPOCHS, STEPS, 0), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("stop",)]


@pytest.mark.parametrize("at", range(1, EPOCHS * STEPS + 1))
@pytest.mark.parametrize("save_every", [0.0, 60.0])
def test_a_loop_cut_off_at_any_step_goes_on_as_if_it_had_not_been(at, save_every, folder):
    whole = go(folder)
    torch.manual_seed(0)
    callback = Noting(at, cut_power)
    with pytest.raises(PowerCutError):
        go(folder / "cut", callback, save_every)
    assert callback.told[-1] == ("stop",)
    torch.manual_seed(99)  # the random state is the run's, not the process's
    if at == 1 or (at <= STEPS and save_every):
        torch.manual_seed(0)  # nothing was saved yet: the run begins again as its owner begins it
    callback = Noting()
    task = go(folder / "cut", callback)
    done = at - 1 if save_every == 0 else (at - 1) // STEPS * STEPS
    assert callback.told[0] == ("start", EPOCHS, STEPS, done)
    assert callback.count == EPOCHS * STEPS - done
    assert task.events == remaining(whole.events, done)
    assert torch.equal(task.total, whole.total)
    assert rows(folder / "cut") == rows(folder)


def remaining(events, done):
    """The events after `done` steps; an epoch that was under way is not begun again."""
    if done == 0:
        return events
    after = events.index(f"step {done - 1}") + 1
    return events[after + (done % STEPS == 0) :]


def test_a_finished_loop_does_nothing_more(folder):
    go(folder)
    callback = Noting()
    assert go(folder, callback).events == []
    assert callback.told == [("start", EPOCHS, STEPS, EPOCHS * STEPS), ("stop",)]


def test_an_epoch_cut_off_before_its_end_is_measured_when_it_goes_on(folder, monkeypatch):
    monkeypatch.setattr(Counting, "end_epoch", lambda *given: cut_power())
    with pytest.raises(PowerCutError):
        go(folder, save_every=0)
    monkeypatch.undo()
    assert go(folder).events[:2] == ["end 0", "begin 1"]
    assert [row["loss"] for row in rows(folder)] == [1.5, 5.5, 9.5]


@pytest.mark.parametrize("at", [1, STEPS, STEPS + 2, EPOCHS * STEPS])
def test_ctrl_c_ends_the_step_saves_and_goes_on_from_there(at, folder):
    whole = go(folder)
    torch.manual_seed(0)
    handler = signal.getsignal(signal.SIGINT)
    callback = Noting(at, interrupt)
    with pytest.raises(Interrupted):
        go(folder / "cut", callback)
    assert signal.getsignal(signal.SIGINT) is handler
    assert callback.count == at
    assert callback.told[-1] == ("stop",)
    callback = Noting()
    task = go(folder / "cut", callback)
    assert callback.told[0] == ("start", EPOCHS, STEPS, at)
    assert torch.equal(task.total, whole.total)
    assert rows(folder / "cut") == rows(folder)


def test_sums_keep_no_graph_alive_and_are_scalars(folder, monkeypatch):
    weight = torch.ones(1, requires_grad=True)
    monkeypatch.setattr(Counting, "step", lambda task, batches: {"loss": 2 * weight})
    with pytest.raises(Interrupted):
        go(folder, Noting(2, interrupt))
    total = Run(folder).read_checkpoint()["sums"]["loss"]
    assert (total.shape, total.requires_grad, total.item()) == ((), False, 4)
    go(folder)
    assert [row["loss"] for row in rows(folder)] == [2, 2, 2]


@pytest.mark.parametrize("there", ["cpu", "cuda", "cuda:1"])
@pytest.mark.parametrize("began", ["cpu", "cuda", "cuda:1"])
def test_a_run_goes_on_with_the_random_state_of_its_own_gpu(began, there, folder, monkeypatch):
    began, there, states = torch.device(began), torch.device(there), {}
    own = {"get_rng_state": lambda device: torch.ByteTensor([device.index or 0])}
    own["set_rng_state"] = lambda state, device: states.update({device: state.item()})
    for name, act in own.items():
        monkeypatch.setattr(torch.cuda, name, act)
    with pytest.raises(Interrupted):
        Loop(Counting(), Run(folder), EPOCHS, Noting(2, interrupt), device=began)()
    assert states == {}
    Loop(Counting(), Run(folder), EPOCHS, Noting(), device=there)()
    assert states == ({} if "cpu" in (began.type, there.type) else {there: began.index or 0})


def test_ctrl_c_at_the_end_of_the_last_epoch_ends_the_run_before_its_results(folder, monkeypatch):
    whole, end_epoch = go(folder), Counting.end_epoch

    def interrupted(task, epoch, means):
        if epoch == EPOCHS - 1:
            interrupt()
        return end_epoch(task, epoch, means)

    torch.manual_seed(0)
    monkeypatch.setattr(Counting, "end_epoch", interrupted)
    callback = Noting()
    with pytest.raises(Interrupted):
        go(folder / "cut", callback)
    assert callback.told[-2:] == [("epoch", EPOCHS), ("stop",)]
    task = go(folder / "cut")
    assert task.events == []
    assert torch.equal(task.total, whole.total)
    assert rows(folder / "cut") == rows(folder)


def test_a_second_ctrl_c_stops_at_once(folder):
    handler = signal.getsignal(signal.SIGINT)
    callback = Noting(2, interrupt_twice)
    with pytest.raises(KeyboardInterrupt) as stopped:
        go(folder, callback)
    assert stopped.type is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (folder / "checkpoints").exists()  # it did not stay to save
    assert callback.told[-1] == ("stop",)


@pytest.mark.parametrize("number", ENDING)
def test_every_signal_to_end_is_heard_once_and_saves(number, folder):
    handlers = {other: signal.getsignal(other) for other in ENDING}
    with pytest.raises(Interrupted) as stopped:
        go(folder, Noting(2, lambda: signal.raise_signal(number)))
    assert stopped.value.status == 128 + number
    assert {other: signal.getsignal(other) for other in ENDING} == handlers
    assert Run(folder).read_checkpoint()["done"] == 2


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_ignored_stays_ignored(number, folder):
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        go(folder, Noting(2, lambda: signal.raise_signal(number)))
    except Interrupted:
        pytest.fail("the loop heard a signal that its program ignores")
    finally:
        signal.signal(number, handler)
    assert len(rows(folder)) == EPOCHS


def test_a_loop_runs_in_a_thread_that_may_set_no_signal(folder):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(go(folder)))
    thread.start()
    thread.join()
    assert len(ended) == 1
    assert len(rows(folder)) == EPOCHS


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_with_one_line(loss, folder, monkeypatch):
    monkeypatch.setattr(Counting, "step", lambda task, batches: {"loss": torch.tensor(loss)})
    callback = Noting()
    with pytest.raises(UserError, match=r"loss is no longer a number in epoch 1: try a lower learning rate") as caught:
        go(folder, callback)
    assert "\n" not in str(caught.value)
    assert not (folder / "metrics.jsonl").exists()
    assert callback.told[-1] == ("stop",)


def test_a_metric_that_is_no_number_is_named(folder, monkeypatch):
    found = {"loss": torch.tensor(1.0), "entropy": torch.tensor(math.nan)}
    monkeypatch.setattr(Counting, "step", lambda task, batches: found)
    with pytest.raises(UserError, match=r"^metric 'entropy' is no number in epoch 1: step returns finite numbers; "):
        go(folder)


def test_the_best_epochs_state_is_kept_and_a_task_that_has_none_keeps_none(folder):
    go(folder / "none")
    assert {file.name for file in (folder / "none" / "checkpoints").iterdir()} == {"last.pt", "previous.pt"}
    torch.manual_seed(0)
    go(folder / "some", save_every=0, kind=Choosing)
    run = Run(folder / "some")
    best = run.load_best()
    assert (best["epoch"], best["done"], best["sums"]) == (2, 0, {})
    assert [row["best"] for row in run.metrics] == [True, True, False]
    assert best["task"]["total"].item() == run.metrics[1]["total"]


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("save_every", [0.0, 60.0])
def test_a_loop_cut_off_between_the_best_checkpoint_and_the_last_writes_both_again(
    epoch, save_every, folder, monkeypatch
):
    whole = go(folder / "whole", kind=Choosing)

    def replace(file, target, real=Path.replace):
        moved = real(file, target)
        bests.append(Path(target).name == "best.pt")
        if bests[-1] and sum(bests) == epoch:
            cut_power()
        return moved

    bests = []
    monkeypatch.setattr(Path, "replace", replace)
    torch.manual_seed(0)
    with pytest.raises(PowerCutError):
        go(folder / "cut", None, save_every, Choosing)
    monkeypatch.undo()
    assert Run(folder / "cut").load_best()["epoch"] == epoch
    torch.manual_seed(0 if epoch == 1 and save_every else 99)  # nothing else was saved: it begins again
    task = go(folder / "cut", kind=Choosing)
    assert torch.equal(task.total, whole.total)
    assert rows(folder / "cut") == rows(folder / "whole")
    for name in ("best.pt", "last.pt"):
        ours, theirs = ((folder / kind / "checkpoints" / name).read_bytes() for kind in ("cut", "whole"))
        assert ours == theirs


def test_each_thing_that_draws_has_a_seed_of_its_own():
    seeds = {seed_of(seed, name) for seed in (0, 1, 2**63 - 1) for name in ("train", "method", "alpha")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert seed_of(3, "train") == seed_of(3, "train")
