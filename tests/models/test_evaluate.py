"""The scorer against a plain loop of forward passes, one mix and one batch after the other."""

from __future__ import annotations

import random
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from supernet.models import evaluate as scoring
from supernet.models import mixed_cell
from supernet.models.evaluate import Scorer, Statistics
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import dense
from supernet.models.mixed_cell import Engine
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import Noise, Norm
from supernet.spaces.operations import SKIPS
from supernet.testing import macro_space, noise_batch, ragged_space, two_input_space

SPACES = [space("nasbench201"), ragged_space(), two_input_space(), macro_space()]
NB201 = SPACES[0]
BATCHES = [noise_batch(1, 12), noise_batch(2, 11)]
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)


@pytest.fixture
def same_noise(monkeypatch):
    """The noise of the operation `noise` is the same for every image, so that they can lie in one batch."""

    def forward(self, x):
        shape = (self.cout, -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return drawn.to(x.dtype).repeat(len(x), 1, 1, 1)

    monkeypatch.setattr(Noise, "forward", forward)


def make(home, engine="reference", norm=Norm(affine=True)):  # noqa: B008
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), norm).double()
    supernet.engine = engine
    with torch.no_grad():
        for weight in supernet.parameters():
            weight += 0.3 * torch.randn_like(weight)
        for seed in range(4):  # running statistics that are others than the batches'
            supernet(2 * noise_batch(10 + seed, 24).x - 1, weights(home, seed))
    return supernet


def weights(home, seed):
    g = torch.Generator().manual_seed(seed)
    cells = home.cells.items()
    return dense(
        {k: torch.rand((len(cell.edges), cell.columns), generator=g, dtype=torch.float64) for k, cell in cells}
    )


def maskings(home):
    """One mix without an operation, for three of them; and three other mixes."""
    full, rng, found = weights(home, 0), random.Random(0), []
    places = [(kind, e, k) for kind, cell in home.cells.items() for e, one in enumerate(cell.edges) for k in one.ops]
    for kind, edge, op in rng.sample(places, 3):
        masked = full[kind].weights.clone()
        masked[edge, home.cells[kind].edges[edge].ops.index(op)] = 0
        found.append({**full, **dense({kind: masked})})
    return [*found, *(weights(home, seed) for seed in range(1, 4))]


def in_a_plain_loop(supernet, mixes, norm):
    """Accuracy and loss of each mix: hits and losses added up image after image."""
    accuracies, losses = [], []
    for mix in mixes:
        hits = total = images = 0
        original = {name: value.clone() for name, value in supernet.state_dict().items()}
        if norm == "recalibrated":
            supernet.load_state_dict(original | means_over_the_batches(supernet, mix))
        for batch in BATCHES:
            before = {name: value.clone() for name, value in supernet.state_dict().items()}
            supernet.train(norm == "batch")
            with torch.no_grad():
                logits = supernet(batch.x, mix)
            supernet.load_state_dict(before)
            for row, label in zip(logits, batch.y.tolist(), strict=True):
                hits += row.tolist().index(max(row.tolist())) == label
                total += F.cross_entropy(row[None], torch.tensor([label])).item()
                images += 1
        supernet.load_state_dict(original)
        accuracies.append(hits / images)
        losses.append(total / images)
    supernet.train()
    return accuracies, losses


def means_over_the_batches(supernet, mix):
    """Running statistics that are the mean over the batches, each taken with momentum 1, by name."""
    supernet.train()
    seen = []
    norms = [module for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for batch in BATCHES:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            supernet(batch.x, mix)
        seen.append({name: value.clone() for name, value in supernet.state_dict().items() if ".running_" in name})
    for norm in norms:
        norm.momentum = 0.1
    return {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}


@each_space
@pytest.mark.usefixtures("same_noise")
def test_scores_are_those_of_a_plain_loop(home):
    supernet, mixes = make(home), maskings(home)
    both = [Scorer(supernet, lambda: BATCHES, norm)(mixes) for norm in get_args(Statistics)]
    for norm, found in zip(get_args(Statistics), both, strict=True):
        accuracies, losses = in_a_plain_loop(supernet, mixes, norm)
        assert found.accuracy == accuracies  # counts of images, divided: exactly
        assert found.loss == pytest.approx(losses, rel=1e-10)
        assert len(set(found.loss)) > len(mixes) / 2
        assert len(set(found.accuracy)) > 1
    assert both[0].loss != pytest.approx(both[1].loss, rel=1e-3)


@pytest.mark.usefixtures("same_noise")
def test_norms_that_track_nothing_take_the_batchs_statistics_either_way():
    supernet = make(NB201, norm=Norm(affine=False, track=False))
    for layer in supernet.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    ours, theirs = (Scorer(supernet, lambda: BATCHES, norm)(maskings(NB201)) for norm in ("batch", "running"))
    assert ours == theirs


@each_space
def test_it_leaves_no_trace(home):
    supernet, mixes = make(home, "fused"), maskings(home)
    supernet.fixed_edges = decided = FixedEdges.none(home).fix(next(iter(home.cells)), 0, [0])
    batch_norms = [layer for layer in supernet.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm, train in (("batch", False), ("running", True), ("recalibrated", False), ("recalibrated", True)):
        supernet.train(train)
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        momenta = [layer.momentum for layer in batch_norms]
        state, python = torch.get_rng_state(), random.getstate()
        Scorer(supernet, lambda: BATCHES, norm)(mixes)
        assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
        assert [layer.momentum for layer in batch_norms] == momenta
        assert supernet.fixed_edges is decided
        assert all(module.training is train for module in supernet.modules())
        assert torch.equal(torch.get_rng_state(), state)  # though there are operations that draw
        assert random.getstate() == python
        assert all(weight.grad is None for weight in supernet.parameters())
        assert not any(edges.weights.requires_grad for mix in mixes for edges in mix.values())


@pytest.mark.usefixtures("same_noise")
def test_recalibration_keeps_the_plans_of_the_fused_engine(monkeypatch):
    planned, plan = [], mixed_cell.plan_stage
    monkeypatch.setattr(mixed_cell, "plan_stage", lambda *given: planned.append(given) or plan(*given))
    fused, reference = (Scorer(make(NB201, engine), lambda: BATCHES, "recalibrated") for engine in get_args(Engine))
    fused([weights(NB201, 0)])
    assert planned
    planned.clear()
    mixes = [weights(NB201, seed) for seed in range(1, 4)]
    found = fused(mixes)
    assert planned == []
    wanted = reference(mixes)
    assert found.accuracy == wanted.accuracy
    assert found.loss == pytest.approx(wanted.loss, rel=1e-10)


def test_an_error_leaves_no_trace_either():
    supernet = make(NB201)
    supernet.fixed_edges = decided = FixedEdges.none(NB201)
    with pytest.raises(ZeroDivisionError):
        Scorer(supernet, lambda: [1 // 0], "running")([weights(NB201, 0)])
    assert supernet.fixed_edges is decided
    assert supernet.training


def test_mixes_are_run_as_they_are_whatever_is_decided():
    supernet, mixes = make(NB201), maskings(NB201)
    found = Scorer(supernet, lambda: BATCHES)(mixes)
    supernet.fixed_edges = FixedEdges.none(NB201).fix("cell", 0, [1])
    assert Scorer(supernet, lambda: BATCHES)(mixes) == found


@pytest.mark.parametrize("norm", get_args(Statistics))
def test_dropout_and_drop_path_are_off(norm):
    torch.manual_seed(0)
    supernet = Supernet(NB201, NetworkSize(4, 1, (8, 8), 1, 3), Norm(affine=True), CellOptions(dropout=SKIPS)).double()
    mixes, score = maskings(NB201)[:3], Scorer(supernet, lambda: BATCHES, norm)
    wanted = score(mixes)
    supernet.dropout = 0.5
    for cell in supernet.mixed_cells:
        cell.drop_path = 0.5
    assert score(mixes) == wanted
    assert all(module.training for module in supernet.modules())


def test_how_many_are_run_together_changes_nothing(monkeypatch):
    supernet, mixes, batched = make(NB201), maskings(NB201), Supernet.batched
    wanted = Scorer(supernet, lambda: BATCHES)(mixes)
    for together in (1, 4):
        sizes = []
        monkeypatch.setattr(scoring, "_TOGETHER", together)
        monkeypatch.setattr(
            Supernet, "batched", lambda self, x, own, n=sizes: n.append(len(own)) or batched(self, x, own)
        )
        found = Scorer(supernet, lambda: BATCHES)(mixes)
        assert max(sizes) == together
        assert sum(sizes) == len(BATCHES) * len(mixes)
        assert found.accuracy == wanted.accuracy
        assert found.loss == pytest.approx(wanted.loss, rel=1e-10)


def test_it_counts_passes_images_and_seconds():
    score = Scorer(make(NB201), lambda: iter(BATCHES))
    assert (score.passes, score.images, score.spent) == (0, 0, 0.0)
    score(maskings(NB201)[:5])
    assert (score.passes, score.images) == (5, 23)
    spent = score.spent
    assert spent > 0
    score(maskings(NB201)[:2])
    assert (score.passes, score.images) == (7, 23)
    assert score.spent > spent


def test_equal_logits_are_the_first_class():
    supernet = make(NB201)
    with torch.no_grad():
        for weight in list(supernet.layers[-1].parameters())[-2:]:
            weight.zero_()
    found = Scorer(supernet, lambda: BATCHES)([weights(NB201, 0)])
    labels = torch.cat([batch.y for batch in BATCHES])
    assert found.accuracy == [(labels == 0).sum().item() / len(labels)]
    assert found.loss == pytest.approx([torch.tensor(3.0).double().log().item()])


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_with_images():
    labels = torch.tensor([0, 0, 0, 0, 2, 3, 3])
    hits = torch.tensor([1, 1, 1, 0, 0, 1, 0]).bool()
    assert scoring.balanced_accuracy(hits, labels) == pytest.approx((3 / 4 + 0 / 1 + 1 / 2) / 3)
    assert scoring.balanced_accuracy(hits[:4], labels[:4]) == 3 / 4
    assert scoring.are_unequal(labels)
    assert not scoring.are_unequal(torch.tensor([0, 0, 3, 3]))
