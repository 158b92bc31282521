"""R-DARTS with early stopping and with more regularisation: when they go back, to what, and how a search resumes."""

from __future__ import annotations

import copy
import itertools

import pytest

from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import robust_es
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, SearchSpace, Stages
from supernet.testing import state_bytes
from supernet.testing.runs import PowerCut, plain, rows_of, run_search, small_plan, state_of

SPACE = SearchSpace("two edges", {"cell": Cell.dense(3, ("nor_conv_1x1", "skip_connect"))}, Stages(("cell",)))
SMALL = {"images": 12, "order": 1, "alpha": {"lr": 0.05}}  # one step to an epoch


def grows(own):
    """The eigenvalue in an epoch without those undone: 1, and much more from epoch 20 on."""
    return 1.0 if own < 20 else 20.0


@pytest.fixture(autouse=True)
def eigenvalues(monkeypatch):
    monkeypatch.setattr(robust_es, "eigenvalue", lambda method: grows(2 * len(method.eigenvalues)))


def searched(method, folder, epochs, callback=None, **settings):
    return run_search(small_plan(SPACE, method, epochs=epochs, **SMALL | settings), folder, callback)


def test_early_stopping_ends_with_the_state_of_the_epoch_before_the_growth(tmp_path):
    task, run = searched("r-darts-es", tmp_path / "es", 40)
    # (3 x 1 + 2 x 20) / 5 of epochs 14 to 22 is above 1.3; before, (4 x 1 + 20) / 5 of 12 to 20 can only go back to 8
    assert len(run.metrics) == 23
    assert run.metrics[-1]["back_to"] == 11
    assert task.finished == "the largest eigenvalue along alpha has grown; the result is epoch 11's"
    assert not list(run.path.glob("checkpoints/snapshot*"))
    assert plain(task.method.op_scores()) == run.metrics[10]["op_scores"] != run.metrics[-1]["op_scores"]
    assert [("eigenvalue" in row) for row in run.metrics] == [epoch % 2 == 0 for epoch in range(23)]


def test_without_growth_a_search_is_that_of_darts(tmp_path):
    task, run = searched("r-darts-es", tmp_path / "es", 15)
    other, same = searched("darts", tmp_path / "darts", 15)
    assert task.finished == ""
    assert [row["op_scores"] for row in run.metrics] == [row["op_scores"] for row in same.metrics]
    assert all((a == b).all() for a, b in zip(task.method.weights, other.method.weights, strict=True))


@pytest.mark.slow
def test_ada_goes_back_with_more_weight_decay_up_to_its_largest(tmp_path):
    task, run = searched("r-darts-ada", tmp_path / "ada", 60)
    assert len(run.metrics) == 60
    # back from epoch 22 to 10; 22 comes again after 12 epochs; with the decay at its largest it goes on
    assert {row["epoch"]: row["back_to"] for row in run.metrics if "back_to" in row} == {23: 11, 35: 11}
    decays = [(decay, len(list(rows))) for decay, rows in itertools.groupby(row["weight_decay"] for row in run.metrics)]
    assert decays == [(pytest.approx(3e-4), 23), (pytest.approx(3e-3), 12), (pytest.approx(0.03), 25)]
    assert task.method.undone == 24
    rows = run.metrics
    assert rows[11]["op_scores"] == rows[23]["op_scores"] == rows[35]["op_scores"]  # a step of alpha from one state
    assert rows[14]["op_scores"] != rows[26]["op_scores"] != rows[38]["op_scores"]  # the weights have learned otherwise
    assert len(task.snapshots.epochs) <= 12


def test_a_return_restores_alphas_weights_and_eigenvalues():
    method = SearchTask(small_plan(SPACE, "r-darts-ada", epochs=40, **SMALL)).method
    method.eigenvalues = [1.0] * 6
    state = copy.deepcopy(method.state_dict())
    for tensor in (*method.weights, *method.alphas.values()):
        tensor.data.add_(1)
    method.eigenvalues, method.budget.snapshots.now = [1.0] * 12, 23
    method.optimizer.param_groups[0]["weight_decay"] = 1e-3
    method.roll_back(state, 11)
    assert (method.undone, method.decay) == (12, 0.01)  # ten times the latest, not that of the state
    method.undone, method.optimizer.param_groups[0]["weight_decay"] = (
        0,
        state["optimizer"]["param_groups"][0]["weight_decay"],
    )
    assert state_bytes(method.state_dict()) == state_bytes(state)


@pytest.mark.parametrize(("name", "back"), [("r-darts-es", 12), ("r-darts-ada", 22)])
def test_the_snapshots_reach_as_far_back_as_the_returns_may(name, back):
    """A return leads 12 epochs back. ADA may return again at the next measurement, 2 epochs on: 22 in all."""
    method = SearchTask(small_plan(SPACE, name, epochs=60, **SMALL)).method
    for own in range(0, 60, 2):
        method.budget.snapshots.now = own + 1
        method._keep(own)
        assert sorted(map(int, method.budget.snapshots.epochs)) == list(range(max(own - back, 10), own + 1, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "cut"), [("r-darts-es", 23), ("r-darts-ada", 23), ("r-darts-ada", 25)])
def test_an_interrupted_search_goes_back_to_the_same_bits(method, cut, tmp_path):
    whole, run = searched(method, tmp_path / "whole", 26)
    with pytest.raises(RuntimeError, match="power cut"):
        searched(method, tmp_path / "cut", 26, PowerCut(cut))
    assert len(Run(tmp_path / "cut").metrics) == cut - 1
    again, same = searched(method, tmp_path / "cut", 26)
    assert rows_of(same) == rows_of(run)
    assert state_of(again) == state_of(whole)


@pytest.mark.parametrize("decay", [0.0, 0.03, 1.0])
def test_a_weight_decay_that_cannot_grow_is_refused(decay):
    with pytest.raises(UserError, match=r"w.weight-decay must be above 0 and below decay-max \(0.03\)"):
        SearchTask(small_plan(SPACE, "r-darts-ada", w={"weight_decay": decay}))


def test_a_step_that_does_not_raise_the_decay_is_refused():
    with pytest.raises(UserError, match="setting decay_step must be above 1, not 1"):
        small_plan(SPACE, "r-darts-ada", decay_step=1.0)
