"""DARTS+: its criteria on sequences by hand, and a search that stops and goes back."""

from __future__ import annotations

import pytest
import torch

import supernet as sn
from retrained import message
from supernet.engine.optim import SGDConfig
from supernet.methods.base import Budget
from supernet.methods.darts_plus import DARTSPlus, DARTSPlusConfig
from supernet.models.supernet import Supernet
from supernet.searching import results
from supernet.searching.margins import margins
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES
from supernet.testing.examples import state_bytes
from supernet.testing.runs import run_search, small_plan
from watched import States

NB201 = EXAMPLE_SPACES[0]
OPS = ("skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3")
EDGES = (Edge(1, 0, OPS), Edge(2, 0, OPS), Edge(2, 1, OPS))
TWO_KINDS = SearchSpace("two", {"normal": Cell(EDGES), "last": Cell(EDGES)}, Stages(("normal", "last")))
NO_NORMAL = SearchSpace("other", {"first": Cell(EDGES), "last": Cell(EDGES)}, Stages(("first", "last")))
SKIP, ONE, POOL, THREE = ([float(column == k) for column in range(4)] for k in range(4))
AHEAD = [0.0, 0.5, 2.0, 0.25]  # a pool leads, then 1x1, 3x3
TURNED = [0.0, 0.25, 2.0, 0.5]


def made(space=TWO_KINDS, **config):
    config = DARTSPlusConfig(regime="different_subset", activation="softmax", **config)
    return DARTSPlus(
        config, Supernet(space, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)), Budget(40, SGDConfig(), 0)
    )


def ended(method, epoch, **rows):
    """End an epoch with these alphas of each kind; return the number of skips, of unchanged epochs, and the reason."""
    with torch.no_grad():
        for kind, edges in rows.items():
            method.alphas[kind].copy_(torch.tensor(edges))
    method.budget.snapshots.now = epoch
    row = method.end_epoch(epoch - 1, 0.5)
    assert set(row) == {"alphas", "skips", "unchanged"}
    return row["skips"], row["unchanged"], method.finished


def test_skips_of_the_normal_cell_end_the_search_and_it_goes_back():
    method = made(criterion="skips")
    snapshots = method.budget.snapshots
    all_skips = [SKIP] * 3
    assert ended(method, 1, normal=[ONE, THREE, POOL], last=all_skips) == (0, 0, "")
    assert snapshots.epochs == {"before": 1}
    assert ended(method, 2, normal=[SKIP, THREE, POOL])[::2] == (1, "")
    assert snapshots.epochs == {"before": 2}
    assert ended(method, 3, normal=[SKIP, POOL, SKIP])[::2] == (2, "the normal cell has 2 skip connections")
    back = snapshots.asked()
    assert (back.epoch, snapshots.epochs) == (2, {})


def test_without_a_normal_cell_the_skips_of_all_count():
    method = made(NO_NORMAL, skips=3)
    assert ended(method, 1, first=[SKIP, ONE, SKIP], last=[ONE, THREE, POOL])[0] == 2
    assert ended(method, 2, last=[POOL, POOL, SKIP])[::2] == (3, "the cells have 3 skip connections")


def test_an_unchanged_ranking_of_the_operations_with_weights_ends_the_search_as_it_is():
    method = made(stable=2, skips=9)
    assert (
        [
            ended(method, 1, normal=[AHEAD] * 3, last=[AHEAD] * 3)[1:],
            ended(method, 2, normal=[TURNED, AHEAD, AHEAD])[1:],
            ended(method, 3, normal=[[9.0, 0.5, -9.0, 0.6], AHEAD, AHEAD])[1:],  # others may change places
            ended(method, 4, last=[AHEAD, AHEAD, TURNED])[1:],
            ended(method, 5)[1:],
            ended(method, 6)[1:],
        ]
        == [
            *((0, ""), (0, ""), (1, ""), (0, ""), (1, "")),
            (2, "the operations with weights have kept their ranking for 2 epochs"),
        ]
    )
    assert (method.budget.snapshots.asked(), method.budget.snapshots.epochs) == (None, {})


@pytest.mark.parametrize(("criterion", "never"), [("skips", "ranking"), ("ranking", "skips")])
def test_a_criterion_that_is_not_asked_for_does_not_end_it(criterion, never):
    method = made(criterion=criterion, stable=1)
    for epoch, first in enumerate((0.1, 0.2, 0.1), 1):
        rows = [[1.0, first, 0.0, 0.15]] * 3 if never == "skips" else [ONE] * 3
        assert ended(method, epoch, normal=rows, last=rows)[2] == ""
    assert (method.budget.snapshots.epochs == {}) == (criterion == "ranking")


def test_before_the_earliest_epoch_nothing_ends_it_and_without_a_snapshot_it_does_not_go_back():
    method = made(earliest=3)
    assert [ended(method, epoch, normal=[SKIP] * 3)[2] for epoch in (1, 2)] == ["", ""]
    assert ended(method, 3)[2] == "the normal cell has 3 skip connections"
    assert method.budget.snapshots.asked() is None


def test_a_criterion_that_can_never_hold_is_one_line():
    convolutions = SearchSpace("plain", {"cell": Cell.dense(3, OPS[1::2])}, Stages(("cell",)))
    one = SearchSpace("one", {"cell": Cell.dense(3, OPS[:2])}, Stages(("cell",)))
    pools = SearchSpace("pools", {"cell": Cell.dense(3, ("avg_pool_3x3", "max_pool_3x3"))}, Stages(("cell",)))
    for space, criterion in ((convolutions, "skips"), (one, "ranking"), (pools, "both")):
        text = message(made, space, criterion=criterion)
        assert f"criterion {criterion} can never end a search in space '{space.name}': skips needs" in text
    assert (made(convolutions).criteria, made(one).criteria) == (["ranking"], ["skips"])


ONLY_SKIPS = (Edge(1, 0, OPS[:1]), Edge(2, 0, OPS[:1]), Edge(2, 1, OPS), Edge(3, 1, OPS))


def test_a_skip_connection_without_an_alternative_does_not_count():
    method = made(SearchSpace("forced", {"normal": Cell(ONLY_SKIPS)}, Stages(("normal",))), criterion="skips")
    assert ended(method, 1, normal=[SKIP, SKIP, SKIP, ONE])[::2] == (1, "")
    assert ended(method, 2, normal=[SKIP] * 4)[::2] == (2, "the normal cell has 2 skip connections by choice")
    kept = SearchSpace("kept", {"normal": Cell(ONLY_SKIPS, keep=1, output="concat")}, Stages(("normal",)))
    assert ended(made(kept, skips=1), 1, normal=[SKIP, SKIP, POOL, ONE])[0] == 1  # node 2 may keep either edge
    never = SearchSpace("never", {"normal": Cell((*ONLY_SKIPS[:2], Edge(2, 1, OPS[1:])))}, Stages(("normal",)))
    assert "skips needs" in message(made, never, criterion="skips")


def searched(method, folder, **settings):
    callback = States(folder)
    run_search(small_plan(NB201, method, epochs=5, **settings), folder, callback)
    return callback


def learned(state):
    """The state without what DARTS+ adds and the count of epochs."""
    own = {"ranking", "unchanged", "finished"}
    method = {name: value for name, value in state["task"]["method"].items() if name not in own}
    return state_bytes([method, state["streams"], state["rng"], state["done"]])


def test_a_search_that_stopped_has_the_state_of_the_epoch_before_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(DARTSPlus, "skips", lambda method: (0, 1, 2)[method.budget.snapshots.now - 1])
    whole, stopped = searched("darts", tmp_path / "darts"), searched("darts-plus", tmp_path / "plus")
    assert (len(whole.states), len(stopped.states)) == (5, 3)
    assert [learned(state) for state in stopped.states] == [learned(whole.states[epoch]) for epoch in (0, 1, 1)]
    assert learned(whole.states[2]) != learned(whole.states[1])
    assert stopped.lines == [
        "back to epoch 2, the last one with fewer",
        "stopped after epoch 3: the cell has 2 skip connections",
    ]
    assert stopped.states[-1]["epoch"] == 3


def test_a_finished_search_says_why_it_stopped_and_more_epochs_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)
    monkeypatch.setattr(DARTSPlus, "skips", lambda method: method.budget.snapshots.now)
    small = {"images": 60, "width": 2, "device": "cpu", "method": "darts-plus", "out": tmp_path / "run"}
    run = sn.search("digits", epochs=3, quiet=True, **small)
    assert run.summary["stopped"] == {"epoch": 2, "reason": "the cell has 2 skip connections"}
    first, last = run.metrics
    assert ("back_to" in first, last["back_to"]) == (False, 1)
    assert run.summary["architecture"] == first["architecture"]
    assert run.summary["margins"] == margins(NB201, run.genotype, [first]).to_json()
    assert run.summary["measured"]["accuracy"] == first["valid_accuracy"]
    before, callback = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}, States(run.path)
    assert sn.search("digits", epochs=9, callbacks=[callback], **small).summary == run.summary
    assert callback.lines == [
        f"run '{run.path}' stopped by itself after epoch 2: these are its results; --force starts it over"
    ]
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == before
    assert sn.select(run, "best-of-samples", samples=2, quiet=True).config["epoch"] == 2


@pytest.mark.slow
def test_a_forecast_says_that_it_may_stop():
    small = {"images": 60, "width": 2, "device": "cpu", "epochs": 3}
    assert sn.forecast("digits", method="darts-plus", **small).may_stop
    assert not sn.forecast("digits", method="darts", **small).may_stop
