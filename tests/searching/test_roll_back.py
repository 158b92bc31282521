"""A method that goes back twice, changes settings and ends early: what a roll-back restores in a real search."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.engine.records import standing
from supernet.methods.differentiable import Differentiable
from supernet.testing import EXAMPLE_SPACES
from supernet.testing.examples import state_bytes
from supernet.testing.runs import rows_of, run_search, small_plan, state_of
from watched import States

EPOCHS = 9


class Tenfold(Differentiable):
    """Goes back to epoch 1 after 3 and to epoch 4 after 5, each time with ten times the weight decay; ends after 7.

    Its learning rate goes back as well.
    """

    lag, decay, ended = 0, 3e-4, 0

    @property
    def finished(self):
        return "that is enough" if self.ended == 7 else ""

    def begin_epoch(self, epoch):
        super().begin_epoch(epoch - self.lag)

    def end_epoch(self, epoch, valid_accuracy):
        self.ended, snapshots = epoch + 1, self.budget.snapshots
        if self.ended in (1, 4):
            snapshots.keep("good")
        if self.ended in (3, 5):
            snapshots.restore("good", f"weight decay {10 * self.decay:g}")
        return {**super().end_epoch(epoch, valid_accuracy), "rate": self.optimizer.param_groups[0]["lr"]}

    def roll_back(self, state, epoch):
        decay, ended = 10 * self.decay, self.ended
        super().roll_back(state, epoch)
        self.decay, self.ended, self.lag = decay, ended, self.budget.snapshots.now - epoch
        for group in self.optimizer.param_groups:
            group["weight_decay"] = decay

    def state_dict(self):
        return super().state_dict() | {"toy": [self.lag, self.decay, self.ended]}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.lag, self.decay, self.ended = state["toy"]


class PowerCutError(Exception):
    pass


def go(folder, callback=None, method=Tenfold):
    settings = {"epochs": EPOCHS, "regime": "different_subset", "alpha": {"optimizer": "adam"}}
    return run_search(small_plan(EXAMPLE_SPACES[1], method, images=24, **settings), folder, callback)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    callback = States(folder)
    return (*go(folder, callback), callback)


def without_decay(state):
    """The state of weights, alphas, optimizers, streams and random numbers, but for the weight decay."""
    method = {name: value for name, value in state["task"]["method"].items() if name not in ("toy", "optimizer")}
    momentum = state["task"]["method"]["optimizer"]["state"]
    return state_bytes([method, momentum, state["streams"], state["rng"], state["task"]["monitor"]])


def decay_of(state):
    (group,) = state["task"]["method"]["optimizer"]["param_groups"]
    return group["weight_decay"]


def test_it_says_what_it_does(whole):
    assert whole[2].lines == [
        "back to epoch 1, weight decay 0.003",
        "back to epoch 4, weight decay 0.03",
        "stopped after epoch 7: that is enough",
    ]


def test_all_goes_back_but_what_the_method_keeps(whole, tmp_path):
    states, plain = whole[2].states, States(tmp_path)
    go(tmp_path, plain, Differentiable)
    for after, then in ((3, 1), (5, 4)):
        assert without_decay(states[after - 1]) == without_decay(states[then - 1])
    assert without_decay(states[1]) != without_decay(states[2])
    assert without_decay(states[2]) == without_decay(plain.states[0])  # of a search that never goes back
    assert [decay_of(state) for state in states] == pytest.approx([3e-4] * 2 + [3e-3] * 2 + [3e-2] * 3)
    assert [state["epoch"] for state in states] == list(range(1, 8))
    assert without_decay(states[3]) != without_decay(plain.states[1])  # the other weight decay counts


def test_rows_stay_and_the_learning_rate_is_the_methods(whole):
    rows = whole[1].metrics
    assert [row["epoch"] for row in rows] == list(range(1, 8))
    assert [row.get("back_to") for row in rows] == [None, None, 1, None, 4, None, None]
    rates = [row["rate"] for row in rows]
    schedule = [whole[0].method.budget.weights.rate(epoch, EPOCHS) for epoch in range(EPOCHS)]
    assert rates == [*schedule[:3], schedule[1], schedule[2], schedule[4], schedule[5]]


def test_the_rows_that_led_to_the_state_are_those_of_its_op_scores(whole):
    rows = standing(whole[1].metrics)
    assert [row["epoch"] for row in rows] == [1, 4, 6, 7]
    assert [row["op_scores"] for row in rows] == whole[0].history


@pytest.mark.parametrize("count", [3, 4, 7, 8, 9, 10, 12, 13, 17])  # snapshots, roll-backs, what follows, and the end
@pytest.mark.slow
def test_killed_at_a_file_it_ends_with_the_same_bits(count, whole, tmp_path, monkeypatch):
    calls, replace = [], Path.replace

    def cut(file, target):
        calls.append(Path(target).name)
        if len(calls) == count:
            raise PowerCutError
        return replace(file, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(PowerCutError):
            go(tmp_path)
    task, run = go(tmp_path)
    assert rows_of(run) == rows_of(whole[1])
    assert state_of(task) == state_of(whole[0])
    names = [sorted(file.name for file in (found.path / "checkpoints").iterdir()) for found in (run, whole[1])]
    assert names[0] == names[1] == ["last.pt", "previous.pt", "snapshot-good-4.pt"]
