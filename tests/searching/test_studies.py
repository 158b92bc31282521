"""The studies of a finished search: what they measure against plain passes, and what a person gets and reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import supernet as sn
from conftest import Pairs, macro_space, ragged_space, tiny_images, two_input_space
from supernet import cli
from supernet.models.mix import dense, detached
from supernet.models.rank_metrics import kendall
from supernet.models.supernet import traceless
from supernet.searching.resume import planned, restored
from supernet.searching.studies import LandscapeConfig, StrengthConfig, landscape, strength
from supernet.searching.studies.landscape import _batch

TINY = {"batch_size": 6, "width": 2, "device": "cpu", "mirror": False, "quiet": True}
SPACES = [ragged_space(), two_input_space(), macro_space()]
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)


def searched(folder: Any, home: Any = SPACES[0], **choices: Any) -> tuple[sn.Run, dict[str, Any]]:
    """Return a search, and what its studies need beside it."""
    images = Pairs(tiny_images(24))
    own = {"epochs": 3, "method": "darts"} | choices
    settings = own if own["method"] == "blank" else {"alpha": {"lr": 0.3}} | own
    run = sn.search(images, space=home, out=folder / "run", **TINY | settings)
    return run, {"data": images, "space": home, "device": "cpu"}


@each_space
def test_the_landscape_is_the_loss_at_alphas_moved_along_two_directions(home, tmp_path):
    run, given = searched(tmp_path, home)
    found = landscape(run, **given, settings=LandscapeConfig(points=3, steps=0, images=10))
    task = restored(planned(run, **given), run)
    batch = _batch(task, 10)
    assert len(batch.y) == 10
    alphas = {kind: alpha.detach() for kind, alpha in task.method.alphas.items()}
    assert found.path[-1] == pytest.approx((0, 0), abs=1e-9)  # the last epoch is where the search has left alpha
    rows = [task.method.alphas.flat({k: torch.tensor(v) for k, v in row["alphas"].items()}) for row in run.metrics]
    moved = torch.stack([*rows, task.method.alphas.flat()]) - task.method.alphas.flat()
    centred = moved - moved.mean(0)
    total = float(centred.square().sum())
    best = torch.linalg.svdvals(centred)[:2].square().sum() / total
    assert found.explained == pytest.approx(float(best), rel=1e-5)  # no plane has more of the path
    here = torch.tensor(found.path, dtype=torch.float64)
    kept = (here - here.mean(0)).square().sum() / total
    assert found.explained == pytest.approx(float(kept), rel=1e-9)
    assert torch.cdist(here, here).max() <= torch.cdist(moved, moved).max() * (1 + 1e-9)
    xs, ys = torch.tensor(found.xs), torch.tensor(found.ys)
    assert xs[0] <= here[:, 0].min() <= here[:, 0].max() <= xs[-1]
    assert ys[0] <= here[:, 1].min() <= here[:, 1].max() <= ys[-1]
    assert torch.tensor(found.losses).shape == (3, 3)
    radius = LandscapeConfig(points=3, steps=0, images=10, radius=0.5)
    around = landscape(run, **given, settings=radius)
    assert around.xs == around.ys == [-0.5, 0, 0.5]
    own = F.cross_entropy(traceless(task.method.supernet, batch.x, task.method.alphas.mix(alphas)), batch.y)
    if home.name != "two inputs":  # which has an operation that outputs noise
        assert around.losses[1][1] == pytest.approx(own.item(), rel=1e-5)
        assert around.losses[0][0] != pytest.approx(own.item(), rel=1e-6)


def test_steps_of_the_weights_lower_the_landscape_and_leave_the_search_alone(tmp_path):
    run, given = searched(tmp_path)
    before = (run.path / "checkpoints" / "last.pt").read_bytes()
    state = torch.get_rng_state()
    low, high = (
        landscape(run, **given, settings=LandscapeConfig(points=2, steps=steps, lr=0.1, images=12, radius=0.1))
        for steps in (30, 0)
    )
    assert max(max(row) for row in low.losses) < min(min(row) for row in high.losses)
    assert torch.equal(torch.get_rng_state(), state)
    assert (run.path / "checkpoints" / "last.pt").read_bytes() == before
    saved = json.loads((run.path / "landscape.json").read_text())
    assert saved["losses"] == high.losses
    assert saved["settings"]["steps"] == 0
    assert (run.path / "landscape.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("directions", ["path", "random"])
def test_a_path_that_stands_still_has_a_plane_all_the_same(directions, tmp_path):
    run, given = searched(tmp_path, epochs=1, alpha={"lr": 0.0, "weight_decay": 0.0})
    settings = LandscapeConfig(points=2, steps=0, images=6, directions=directions)
    found = landscape(run, **given, settings=settings)
    assert found.xs == found.ys == [-1.0, 1.0]
    assert len({loss for row in found.losses for loss in row}) == 4
    assert found == landscape(run, **given, settings=settings)


@pytest.mark.parametrize("home", [SPACES[0], SPACES[2]], ids=lambda home: home.name)  # without noise
def test_strength_is_the_accuracy_with_an_edges_one_operation(home, tmp_path):
    run, given = searched(tmp_path, home)
    found = strength(run, **given, settings=StrengthConfig(steps=0))
    task = restored(planned(run, **given), run)
    mix = detached(task.method.mix())
    supernet = task.method.supernet.train()

    def accuracy(weights):
        hits = [
            int((traceless(supernet, b.x, dense(weights)).argmax(1) == b.y).sum()) for b in task.validation_batches()
        ]
        return sum(hits) / 12

    weights = {kind: edges.weights for kind, edges in mix.items()}
    taus, agreeing, edges = [], 0, 0
    for kind, cell in home.cells.items():
        for e, edge in enumerate(cell.edges):
            own = []
            for k in range(len(edge.ops)):
                one = weights[kind].clone()
                one[e] = 0
                one[e, k] = 1
                own.append(accuracy({**weights, kind: one}))
            assert found.accuracies[kind][e] == pytest.approx(own)
            row = weights[kind][e].tolist()[: len(edge.ops)]
            assert found.weights[kind][e] == row
            edges += 1
            agreeing += own[row.index(max(row))] == max(own)
            if len(set(row)) > 1 and len(set(own)) > 1:
                taus.append(kendall(row, own))
    assert found.supernet == pytest.approx(accuracy(weights))
    assert (found.agreeing, found.edges) == (agreeing, edges)
    assert found.tau == (pytest.approx(sum(taus) / len(taus)) if taus else None)
    assert json.loads((run.path / "strength.json").read_text())["accuracies"] == found.accuracies
    assert (run.path / "strength.svg").exists()


def test_training_on_is_the_same_for_every_operation_and_repeats(tmp_path):
    run, given = searched(tmp_path)
    first, again, other = (strength(run, **given, settings=StrengthConfig(steps=steps, lr=0.1)) for steps in (8, 8, 0))
    assert first == again
    assert first.accuracies != other.accuracies


def test_equal_weights_have_no_order(tmp_path):
    run, given = searched(tmp_path, method="blank", selector="magnitude")
    assert strength(run, **given, settings=StrengthConfig(steps=0)).tau is None


def test_the_commands_say_what_they_found(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--images", "60", "--epochs", "2", "--width", "2", "--device", "cpu", "--quiet"]
    cli.main(["search", "digits", "--method", "darts", *small, "--out", "x"])
    capsys.readouterr()
    cli.main(["landscape", "x", "--points", "3", "--steps", "1", "--images", "20"])
    told = capsys.readouterr().out
    assert "on the grid" in told
    assert "x/landscape.svg" in told
    cli.main(["strength", "x", "--steps", "1"])
    told = capsys.readouterr().out
    assert "of 6 edges" in told
    assert "x/strength.svg" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["landscape", "blank", "--points", "3"], "method 'blank' has no alpha to look around"),
        (["landscape", "blank", "--points", "1"], "setting points must be at least 2, not 1"),
        (["strength", "nowhere"], "'nowhere' is no run folder of a search"),
        (["strength", "blank", "--steps", "-1"], "setting steps must be at least 0, not -1"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "blank" in arguments:
        small = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}
        sn.search("digits", method="blank", selector="magnitude", out="blank", **small)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
