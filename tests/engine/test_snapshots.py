"""Snapshots, roll-backs and an early end: a task that has all of them, cut off wherever it writes a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop, Task
from supernet.engine.run import Run
from supernet.engine.snapshots import MOST, Snapshots
from supernet.errors import UserError
from supernet.testing.examples import state_bytes
from watched import Numbers

EPOCHS = 9


class Returning(Task):
    """Keeps `first` after epoch 1 and `odd` after each odd one, goes back after 4 and 6, and ends after epoch 7.

    It adds noise of torch's times a gain, which each roll-back doubles.
    """

    def __init__(self):
        self.streams = {"numbers": Numbers(2)}
        self.snapshots = Snapshots()
        self.total, self.gain, self.ended, self.begun, self.seen = torch.zeros(()), 1, 0, [], []

    @property
    def finished(self):
        return "that is enough" if self.ended == 7 else ""

    def begin_epoch(self, epoch):
        self.begun.append(epoch)

    def step(self, batches):
        self.seen.append(batches["numbers"])
        self.total = self.total + self.gain * torch.rand(())
        return {"loss": self.total.clone()}

    def end_epoch(self, epoch, means):
        self.ended = epoch + 1
        match self.ended:
            case 1:
                self.snapshots.keep("first")
            case 4:
                self.snapshots.restore("odd", "gain 2")
            case 6:
                self.snapshots.keep("odd")
                self.snapshots.restore("first")
                self.snapshots.drop("first")
        if self.ended % 2:
            self.snapshots.keep("odd")
        return dict(means)

    def state_dict(self):
        return {
            "total": self.total,
            "gain": self.gain,
            "ended": self.ended,
            "snapshots": dict(self.snapshots.epochs),
        }

    def load_state_dict(self, state):
        self.total, self.gain, self.ended = state["total"], state["gain"], state["ended"]
        self.snapshots.epochs = dict(state["snapshots"])

    def roll_back(self, state, epoch):
        gain, kept, ended = 2 * self.gain, dict(self.snapshots.epochs), self.ended
        self.load_state_dict(state)
        assert self.ended == epoch
        self.gain, self.snapshots.epochs, self.ended = gain, kept, ended


class Hearing(Callback):
    def __init__(self):
        self.lines = []

    def epoch(self, row):
        self.lines.append(row["epoch"])

    def say(self, text):
        self.lines.append(text)


class PowerCutError(Exception):
    pass


def go(folder, callback=None, save_every=60.0):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    task = Returning()
    Loop(task, Run(folder), EPOCHS, callback or Callback(), save_every)()
    return task


def end_of(folder, task):
    """Everything that a run leaves, without times."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in Run(folder).metrics]
    names = sorted(file.name for file in (folder / "checkpoints").iterdir())
    snapshots = [file.read_bytes() for file in sorted((folder / "checkpoints").glob("snapshot-*"))]
    return rows, names, snapshots, state_bytes(task.state_dict()), state_bytes(Run(folder).read_checkpoint())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, callback = tmp_path_factory.mktemp("whole"), Hearing()
    task = go(folder, callback)
    return folder, task, callback


def test_it_goes_back_counts_on_and_ends_early(whole):
    folder, task, callback = whole
    assert callback.lines == [
        *(1, 2, 3, 4, "back to epoch 3, gain 2", 5, 6, "back to epoch 1", 7),
        "stopped after epoch 7: that is enough",
    ]
    assert task.begun == list(range(7))
    assert task.seen == [0, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 2, 3]  # the stream goes back as well
    rows = Run(folder).metrics
    assert [row.get("back_to") for row in rows] == [None, None, None, 3, None, 1, None]
    assert {file.name for file in (folder / "checkpoints").glob("snap*")} == {"snapshot-odd-7.pt"}


def test_the_global_random_state_goes_back(whole):
    rows = Run(whole[0]).metrics
    torch.manual_seed(0)
    draws = torch.rand(14).tolist()
    total = sum(draws[:6]) + 2 * draws[6]  # epoch 5 begins from the state after epoch 3, with twice the gain
    assert rows[4]["loss"] == pytest.approx(total + draws[7])
    assert rows[3]["loss"] == pytest.approx(sum(draws[:7]) + draws[7] / 2)


def cut_at(monkeypatch, owner, name, count, *, after=False):
    """End a run at the `count`-th call of a method, before it or after it; of the removals, only snapshots' count."""
    calls, real = [], getattr(owner, name)

    def counted(*arguments, **options):
        counts = name != "unlink" or arguments[0].name.startswith("snapshot")
        calls.extend([1] * counts)
        if counts and len(calls) == count and not after:
            raise PowerCutError
        result = real(*arguments, **options)
        if counts and len(calls) == count and after:
            raise PowerCutError
        return result

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "calls", "save_every"),
    [
        (Path, "replace", 19, 60.0),  # 7 checkpoints, of which 6 move the one before, and 6 snapshots
        (Path, "unlink", 5, 60.0),
        (Run, "log", 7, 0.0),
        (Returning, "roll_back", 2, 0.0),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_cut_off_at_every_write_it_ends_the_same(whole, tmp_path, monkeypatch, owner, name, calls, save_every, after):
    expected = end_of(*whole[:2])
    for count in range(1, calls + 1):
        folder = tmp_path / str(count)
        with monkeypatch.context() as patch:
            cut_at(patch, owner, name, count, after=after)
            with pytest.raises(PowerCutError):
                go(folder, None, save_every)
        assert end_of(folder, go(folder)) == expected, count
    cut_at(monkeypatch, owner, name, calls + 1)
    go(tmp_path / "whole", None, save_every)  # there are no more


def test_a_damaged_checkpoint_of_a_roll_back_leaves_the_snapshots_of_the_one_before(whole, tmp_path, monkeypatch):
    cut_at(monkeypatch, Returning, "begin_epoch", 7)  # after epoch 6, which dropped `first` and went back
    with pytest.raises(PowerCutError):
        go(tmp_path)
    monkeypatch.undo()
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"damaged")
    callback = Hearing()
    assert end_of(tmp_path, go(tmp_path, callback)) == end_of(*whole[:2])
    assert callback.lines[1:] == [6, "back to epoch 1", 7, "stopped after epoch 7: that is enough"]


def test_a_damaged_snapshot_is_one_line(tmp_path, monkeypatch):
    cut_at(monkeypatch, Returning, "begin_epoch", 4)
    with pytest.raises(PowerCutError):
        go(tmp_path)
    monkeypatch.undo()
    (tmp_path / "checkpoints" / "snapshot-odd-3.pt").unlink()
    advice = "remove the folder, and the command that made the run starts it over"
    with pytest.raises(UserError, match=rf"snapshot '.*snapshot-odd-3.pt' is missing or damaged: {advice}$"):
        go(tmp_path)


def test_what_cannot_be_asked_is_one_line():
    snapshots = Snapshots()
    for name in ("restore", "drop"):
        with pytest.raises(UserError, match="unknown snapshot 'best'"):
            getattr(snapshots, name)("best")
    for name in ("", "../best", "Best", "a" * 41):
        with pytest.raises(UserError, match="lower-case letters"):
            snapshots.keep(name)
    for number in range(MOST):
        snapshots.keep(str(number))
    snapshots.keep("0")
    with pytest.raises(UserError, match=f"at most {MOST} snapshots"):
        snapshots.keep("more")
