"""The studies of a search, landscape and strength, against plain forward passes; and their commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import supernet as sn
from conftest import Call
from supernet.errors import UserError
from supernet.methods.differentiable import Differentiable
from supernet.methods.hessian import relaxed
from supernet.models.mix import dense, detached
from supernet.models.rank_metrics import kendall
from supernet.models.supernet import traceless
from supernet.report import plots
from supernet.searching import results
from supernet.searching.resume import plan_of, restored
from supernet.searching.studies import LandscapeConfig, StrengthConfig, landscape, strength
from supernet.searching.studies.landscape import _batch
from supernet.searching.studies.study import config_given, lookahead_of
from supernet.testing import PairDataset, macro_space, ragged_space, tiny_images, two_input_space

TINY = {"batch_size": 6, "width": 2, "device": "cpu", "mirror": False, "quiet": True}
SPACES = {space.name: space for space in (ragged_space(), two_input_space(), macro_space())}


Searched = Callable[..., tuple[sn.Run, dict[str, Any]]]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Return a function that searches, once for equal arguments, and returns the run and what its studies need."""

    @cache
    def search(
        space: str = "ragged", method: str = "darts", epochs: int = 3, alpha_lr: float = 0.3, **more: Any
    ) -> Any:
        images = PairDataset(tiny_images(24))
        settings = {"alpha": {"lr": alpha_lr, "weight_decay": 0.0}} if method == "darts" else {"selector": "magnitude"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(results, "_pictures", lambda *arguments: None)  # they take most of the time
            out = tmp_path_factory.mktemp("runs") / "run"
            run = sn.search(
                images, space=SPACES[space], method=method, epochs=epochs, out=out, **TINY | settings | more
            )
        return run, {"data": images, "space": SPACES[space], "device": "cpu"}

    return search


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of studies."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("space", SPACES)
def test_the_landscape_is_the_loss_at_alphas_moved_in_a_plane(space, searched):
    run, given = searched(space)
    found = landscape(run, **given, config=LandscapeConfig(points=3, steps=0, images=10))
    task = restored(plan_of(run, **given), run)
    batch = _batch(task, 10)
    assert len(batch.y) == 10
    alphas = {kind: alpha.detach() for kind, alpha in task.method.alphas.items()}
    assert found.path[-1] == pytest.approx((0, 0), abs=1e-9)  # the last alpha is the origin
    rows = [task.method.alphas.flat({k: torch.tensor(v) for k, v in row["alphas"].items()}) for row in run.metrics]
    moved = torch.stack(rows) - task.method.alphas.flat()
    assert len(found.path) == len(run.metrics)
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
    around = landscape(run, **given, config=radius)
    assert around.xs == around.ys == [-0.5, 0, 0.5]
    own = F.cross_entropy(traceless(task.method.supernet, batch.x, task.method.alphas.mix(alphas)), batch.y)
    if space != "two inputs":  # which has an operation that outputs noise
        assert around.losses[1][1] == pytest.approx(own.item(), rel=1e-5)
        assert around.losses[0][0] != pytest.approx(own.item(), rel=1e-6)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("method", ["darts-minus", "pc-darts", "fairdarts", "single-darts", "gdas", "zarts-rs"])
def test_the_middle_of_the_landscape_is_the_loss_that_the_search_has_come_to(method, searched):
    run, given = searched(
        ragged_space().name, method=method, epochs=2, **({"partial": 2} if method == "pc-darts" else {})
    )
    found = landscape(run, **given, config=LandscapeConfig(points=3, steps=0, images=10, radius=0.5))
    task = restored(plan_of(run, **given), run)
    batch, (_, mix) = _batch(task, 10), relaxed(task.method)
    own = F.cross_entropy(traceless(task.method.supernet, batch.x, mix), batch.y)
    assert found.losses[1][1] == pytest.approx(own.item(), rel=1e-5)


def test_steps_of_studies_have_the_weight_decay_of_the_search(searched):
    run, given = searched(method="r-darts-l2", epochs=1, decay_factor=9.0)
    task = restored(plan_of(run, **given), run)
    assert lookahead_of(task, 1).weights.weight_decay == pytest.approx(9 * task.plan.config.w.weight_decay)


def test_nothing_is_dropped_out_in_studies(searched):
    run, given = searched(method="r-darts-dp", epochs=2, drop_path=0.5)
    task = restored(plan_of(run, **given), run)
    assert any(cell.drop_path + cell.drop_edges for cell in task.method.supernet.mixed_cells)
    supernet = lookahead_of(task, 1).supernet
    assert supernet.dropout == 0
    assert not any(cell.drop_path + cell.drop_edges for cell in supernet.mixed_cells)


def test_steps_of_the_weights_lower_the_landscape_and_leave_the_search_as_it_is(searched):
    run, given = searched()
    before = (run.path / "checkpoints" / "last.pt").read_bytes()
    state = torch.get_rng_state()
    low, high = (
        landscape(run, **given, config=LandscapeConfig(points=2, steps=steps, lr=0.1, images=12, radius=0.1))
        for steps in (30, 0)
    )
    assert max(max(row) for row in low.losses) < min(min(row) for row in high.losses)
    assert torch.equal(torch.get_rng_state(), state)
    assert (run.path / "checkpoints" / "last.pt").read_bytes() == before
    saved = json.loads((run.path / "landscape.json").read_text())
    assert saved["losses"] == high.losses
    assert saved["config"]["steps"] == 0
    assert (run.path / "landscape.svg").read_text().startswith("<?xml")


def test_the_landscape_says_which_parameters_it_leaves_fixed(searched, monkeypatch):
    titles = []
    monkeypatch.setattr(plots, "save", lambda figure, path: titles.append(figure.axes[0].get_title()))
    kinds = ("darts", [], {}), ("pc-darts", ["beta"], {"partial": 2}), ("darts-minus", ["auxiliary skip"], {})
    for method, fixed, more in kinds:
        run, given = searched(two_input_space().name, method=method, epochs=1, **more)
        config = LandscapeConfig(points=2, steps=0, images=6)
        assert landscape(run, **given, config=config).fixed == fixed
        assert json.loads((run.path / "landscape.json").read_text())["fixed"] == fixed
    assert "fixed" not in titles[0]
    assert "(beta fixed)" in titles[1]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("directions", ["path", "random"])
def test_a_path_of_a_single_point_has_a_plane(directions, searched):
    run, given = searched(epochs=1, alpha_lr=0.0)
    config = LandscapeConfig(points=2, steps=0, images=6, directions=directions)
    found = landscape(run, **given, config=config)
    assert found.xs == found.ys == [-1.0, 1.0]
    assert len({loss for row in found.losses for loss in row}) == 4
    assert found == landscape(run, **given, config=config)


def test_a_landscape_without_extent_is_refused():
    with pytest.raises(UserError, match=r"radius .*0"):
        config_given(LandscapeConfig, {"radius": 0.0})


class Silent(Differentiable):
    def end_epoch(self, epoch, valid_accuracy):
        return {}


def test_a_method_of_ones_own_that_has_not_reported_its_alphas_is_told(searched):
    run, given = searched(method=Silent, epochs=1)
    with pytest.raises(sn.UserError, match=r"^method '.*:Silent' has not reported its alphas after each epoch: "):
        landscape(run, **given, method=Silent)


@pytest.mark.parametrize("space", ["ragged", "macro"])  # without noise
def test_strength_is_the_accuracy_with_one_operation_on_an_edge(space, searched):
    run, given = searched(space)
    found = strength(run, **given, config=StrengthConfig(steps=0))
    task = restored(plan_of(run, **given), run)
    mix = detached(task.method.mix())
    supernet = task.method.supernet.train()

    def accuracy(weights):
        hits = [
            int((traceless(supernet, b.x, dense(weights)).argmax(1) == b.y).sum()) for b in task.validation_batches()
        ]
        return sum(hits) / 12

    weights = {kind: edges.weights for kind, edges in mix.items()}
    taus, agreeing, edges = [], 0, 0
    for kind, cell in SPACES[space].cells.items():
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
            allowed = SPACES[space].candidates(cell)[e]  # no `none` where an architecture leaves edges out
            row, own = ([values[k] for k in allowed] for values in (row, own))
            if len(allowed) == 1:
                continue
            edges += 1
            agreeing += all(a == max(own) for weight, a in zip(row, own, strict=True) if weight == max(row))
            if len(set(row)) > 1 and len(set(own)) > 1:
                taus.append(kendall(row, own))
    assert found.supernet == pytest.approx(accuracy(weights))
    assert (found.agreeing, found.edges) == (agreeing, edges)
    assert found.tau == (pytest.approx(sum(taus) / len(taus)) if taus else None)
    assert json.loads((run.path / "strength.json").read_text())["accuracies"] == found.accuracies
    assert (run.path / "strength.svg").exists()


@pytest.mark.usefixtures("no_pictures")
def test_steps_before_the_strength_change_it_and_are_repeatable(searched):
    run, given = searched()
    first, again, other = (strength(run, **given, config=StrengthConfig(steps=steps, lr=0.1)) for steps in (8, 8, 0))
    assert first == again
    assert first.accuracies != other.accuracies


def test_equal_weights_have_no_rank_correlation(searched):
    run, given = searched(method="blank")
    assert strength(run, **given, config=StrengthConfig(steps=0)).tau is None


@pytest.fixture(scope="module")
def on_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a search on digits by darts, and one by blank."""
    folder, small = tmp_path_factory.mktemp("digits"), {"images": 60, "epochs": 2, "width": 2, "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_pictures", lambda *arguments: None)
        sn.search("digits", method="darts", out=folder / "darts", quiet=True, **small)
        sn.search("digits", method="blank", selector="magnitude", out=folder / "blank", quiet=True, **small)
    return folder


def test_the_commands_print_the_results(on_digits: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(on_digits)
    status, out, _ = call("landscape", "darts", "--points", "3", "--steps", "1", "--images", "20")
    assert status == 0
    assert "on the grid" in out
    assert "darts/landscape.svg" in out
    status, out, _ = call("strength", "darts", "--steps", "1")
    assert status == 0
    assert "of 6 edges" in out
    assert "darts/strength.svg" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("landscape blank --points 3", "method 'blank' has no alpha to look around"),
        ("landscape blank --points 1", "setting points must be at least 2, not 1"),
        ("strength nowhere", "'nowhere' is no run folder of a search"),
        ("strength blank --steps -1", "setting steps must be at least 0, not -1"),
    ],
)
def test_a_mistake_in_a_command_is_one_line(
    line: str, message: str, on_digits: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(on_digits)
    status, out, err = call(*line.split())
    assert (status, err) == (2, f"supernet: {message}\n")
    assert len(out.splitlines()) <= 1  # what was read, if anything
