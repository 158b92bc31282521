"""The ranking of architectures by one-shot accuracy, against plain forward passes, the table and definitions."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import torch

import supernet as sn
from supernet import cli
from supernet.data import Batch
from supernet.models.evaluate import Scorer, Scores
from supernet.models.mix import Mix
from supernet.models.rank_metrics import centred_ranks, kendall
from supernet.searching import results
from supernet.searching.resume import plan_of, restored
from supernet.searching.studies import RankingConfig, ranking
from supernet.testing import PairDataset, ragged_space, tiny_images

SMALL = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True, "batch_size": 12}


@dataclass(frozen=True)
class ProposingConfig:
    pass


class Proposing(sn.Method):
    """A method that trains one architecture and proposes four, each of them twice."""

    Config = ProposingConfig

    @property
    def streams(self):
        return {"weights": "train"}

    def mix(self) -> Mix:
        return self.supernet.only(self.architectures[0])

    @property
    def architectures(self):
        return [self.supernet.space.sample(random.Random(number)) for number in range(4)]

    def proposals(self, count, rng):
        return [*self.architectures, *self.architectures][:count]

    def step(self, batches):
        return self.weight_step(batches["weights"], self.mix())


@pytest.fixture(scope="module", autouse=True)
def no_pictures_of_searches():
    """Leave out the pictures of searches, which take most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_pictures", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> sn.Run:
    return sn.search("digits", method="single-darts", out=tmp_path_factory.mktemp("search") / "run", **SMALL)


@pytest.fixture(scope="module")
def proposing(tmp_path_factory) -> sn.Run:
    return sn.search("digits", method=Proposing, out=tmp_path_factory.mktemp("proposing") / "run", **SMALL)


class Undecided(Scorer):
    """A scorer for which all architectures are equally accurate."""

    def __call__(self, mixes):
        return Scores([0.5] * len(mixes), [1.0] * len(mixes))


def ranked(run: sn.Run, **settings: Any) -> Any:
    own = Proposing if run.config["method"] == f"{__name__}:Proposing" else None
    return sn.rank(run, method=own, device="cpu", config=RankingConfig(**settings))


def pairs_right(estimate: list[float], truth: list[float]) -> tuple[float, int]:
    """Return the number of pairs in the right order, and of all pairs whose truths differ."""
    orders = [(a - b) * (c - d) for (a, c), (b, d) in combinations(zip(estimate, truth, strict=True), 2) if c != d]
    return sum(1 if order > 0 else 0.5 * (order == 0) for order in orders), len(orders)


@pytest.mark.parametrize(("norm", "images"), [("batch", None), ("running", None), ("batch", 17)])
def test_one_shot_accuracies_equal_plain_passes_with_one_path(run, norm, images):
    found = ranked(run, count=20, norm=norm, images=images)
    task = restored(plan_of(run, device="cpu"), run)
    supernet, table = task.method.supernet.train(norm == "batch"), sn.table("nasbench201")
    batches = list(task.validation_batches())
    assert [len(batch.y) for batch in batches] == [10, 10, 10]
    if images:
        every = Batch(*map(torch.cat, zip(*batches, strict=True)))
        batches = [Batch(*(part[own] for part in every)) for own in (slice(9), slice(9, 17))]
    assert found.images == (images or 30)
    for index, one_shot in zip(found.indices, found.one_shot, strict=True):
        state = {name: value.clone() for name, value in supernet.state_dict().items()}
        with torch.no_grad():
            hits = [supernet(b.x, supernet.only(table.genotype(index))).argmax(1) == b.y for b in batches]
        supernet.load_state_dict(state)
        assert one_shot == pytest.approx(torch.cat(hits).float().mean().item())
    assert len(set(found.one_shot)) > 3


def test_nearly_all_of_the_table_are_taken_in_a_random_order_without_draws(run, monkeypatch):
    task, table = restored(plan_of(run, device="cpu"), run), sn.table("nasbench201")
    monkeypatch.setattr(type(task.feasible), "sample", lambda *given: pytest.fail("drawn"))
    found = ranking._architectures(task, RankingConfig(count=15_000), table, random.Random(0))
    other = ranking._architectures(task, RankingConfig(count=15_000), table, random.Random(1))
    assert len(set(found)) == len(set(other)) == 15_000
    assert found[:10] != other[:10]


def test_batch_and_running_statistics_give_other_accuracies(run):
    batch, running = (ranked(run, count=20, norm=norm) for norm in ("batch", "running"))
    assert batch.indices == running.indices
    assert batch.one_shot != running.one_shot


def test_truths_are_those_of_the_table_and_parameters_those_of_networks(run):
    found, table = ranked(run, count=5, truth="c100_valid_12"), sn.table("nasbench201")
    assert len(set(found.indices)) == 5
    assert found.truth == [float(table.column("c100_valid_12")[index]) for index in found.indices]
    for index, params in zip(found.indices, found.params, strict=True):
        network = sn.build(table.genotype(index), channels=1, image_size=(8, 8))
        assert params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("count", [20, 21])
def test_agreement_is_measured_over_all_and_among_the_best_half(run, count):
    found = ranked(run, count=count, top=3)
    rows = list(zip(found.one_shot, found.truth, found.params, strict=True))
    best = sorted(rows, key=lambda row: -row[1])[: count - count // 2]
    for some, agreement in ((rows, found.whole), (best, found.best_half)):
        one_shot, truth, params = (list(row) for row in zip(*some, strict=True))
        right, pairs = pairs_right(one_shot, truth)
        assert agreement.pairs == pytest.approx(right / pairs)
        untied = sum(a != b for a, b in combinations(one_shot, 2))
        assert agreement.tau == pytest.approx((2 * right - pairs) / (untied * pairs) ** 0.5)  # all differ in truth
        right, _ = pairs_right(params, truth)
        untied = sum(a != b for a, b in combinations(params, 2))
        assert agreement.params_tau == pytest.approx((2 * right - pairs) / (untied * pairs) ** 0.5)
    highest = sorted(range(count), key=lambda n: (-found.one_shot[n], n))[:3]
    assert found.whole.regret == pytest.approx(max(found.truth) - max(found.truth[n] for n in highest))
    assert found.whole.spearman != found.whole.tau
    assert found.whole.tau != found.best_half.tau


def test_zero_cost_scores_are_ranked_by_alone_and_with_the_one_shot_accuracy(run):
    found = ranked(run, count=12, zero_cost=("params", "naswot"))
    assert list(found.zero_cost) == ["params", "naswot"]
    assert found.zero_cost["params"].alone == (found.whole.params_tau, found.best_half.params_tau)
    for score in found.zero_cost.values():
        assert score.alone[0] == kendall(score.values, found.truth)
        both = [one + other for one, other in zip(*map(centred_ranks, (found.one_shot, score.values)), strict=True)]
        assert score.combined[0] == pytest.approx(kendall(both, found.truth))
        best = sorted(range(12), key=lambda n: -found.truth[n])[:6]
        assert score.combined[1] == pytest.approx(kendall([both[n] for n in best], [found.truth[n] for n in best]))


def test_a_ranking_is_written_and_leaves_the_search_as_it_is(run):
    before = (run.path / "checkpoints" / "last.pt").read_bytes()
    state = torch.get_rng_state()
    found = ranked(run, count=6)
    assert ranked(run, count=6) == found
    assert torch.equal(torch.get_rng_state(), state)
    assert (run.path / "checkpoints" / "last.pt").read_bytes() == before
    saved = json.loads((run.path / "rank.json").read_text())
    assert (saved["indices"], saved["one_shot"]) == (found.indices, found.one_shot)
    assert saved["best_half"]["tau"] == found.best_half.tau
    assert saved["config"] == {
        "count": 6, "sampler": "uniform", "images": None, "norm": "batch", "truth": "c10_test", "top": 10,
            "zero_cost": [],
    }  # fmt: skip
    assert (run.path / "rank.svg").read_text().startswith("<?xml")


def test_architectures_are_drawn_by_the_seed_or_proposed_by_the_method(run, proposing, tmp_path):
    other = sn.search("digits", method=Proposing, out=tmp_path / "other", seed=1, **SMALL)
    first, second = (ranked(search, count=8).indices for search in (proposing, other))
    assert first != second
    assert first == ranked(run, count=8).indices  # of another method, with the same seed
    home, table = sn.space("nasbench201"), sn.table("nasbench201")
    own = {table.index(home.sample(random.Random(number))) for number in range(4)}
    found = ranked(proposing, count=8, sampler="own").indices
    assert len(found) == 4
    assert set(found) == own


def test_proposals_that_are_all_above_the_limits_are_one_line(tmp_path):
    tight = sn.search("digits", method=Proposing, max_params=80_000, out=tmp_path / "tight", **SMALL)
    with pytest.raises(sn.UserError, match="no architecture of sampler 'own' is within the limits: at most 80,000"):
        ranked(tight, count=8, sampler="own")


def test_equal_accuracies_have_no_rank_correlation(proposing, monkeypatch):
    monkeypatch.setattr(ranking, "Scorer", Undecided)
    found = ranked(proposing, sampler="own")
    assert found.one_shot == [0.5] * 4
    assert (found.whole.tau, found.whole.spearman, found.whole.pairs) == (None, None, 0.5)
    assert found.whole.params_tau is not None
    alone = ranked(proposing, sampler="own", count=1).whole
    assert (alone.tau, alone.spearman, alone.pairs, alone.params_tau, alone.regret) == (None, None, None, None, 0)
    assert "NaN" not in (proposing.path / "rank.json").read_text()


MISTAKES = [
    ({"count": 0}, "setting count must be at least 1, not 0"),
    ({"count": 99999}, "nasbench201 has 15625 architectures: setting count must be at most that, not 99999"),
    ({"images": 0}, "setting images must be at least 1, not 0"),
    ({"top": 0}, "setting top must be at least 1, not 0"),
    ({"sampler": "mine"}, "setting sampler takes 'own', 'uniform', 'alpha' or 'likeliest', not 'mine'"),
    ({"norm": "runing"}, "setting norm takes 'batch', 'running' or 'recalibrated', not 'runing'"),
    ({"truth": "c10_tes"}, "unknown nasbench201 field 'c10_tes'; did you mean 'c10_test'?"),
    ({"truth": "c10_params_m"}, "'c10_params_m' of nasbench201 is better where it is lower: take an accuracy"),
    ({"truth": "n_seeds"}, "'n_seeds' has no better and worse"),
    ({"truth": "c10_valid_s2"}, "'c10_valid_s2' was not measured for "),
]


@pytest.mark.parametrize(("settings", "expected"), MISTAKES, ids=[str(settings) for settings, _ in MISTAKES])
def test_a_mistake_is_one_line(run, settings, expected):
    with pytest.raises(sn.UserError) as caught:
        ranked(run, **settings)
    assert str(caught.value).startswith(expected)


def test_the_config_may_be_a_mapping_and_nothing_else(run):
    assert sn.rank(run, device="cpu", config={"count": 3}).config == RankingConfig(count=3)
    with pytest.raises(sn.UserError, match=r"^config takes a RankingConfig or a mapping of its fields, not 3$"):
        sn.rank(run, device="cpu", config=3)


def test_a_missing_table_or_missing_running_statistics_are_one_line(tmp_path):
    untracked = sn.search("digits", out=tmp_path / "untracked", norm_track=False, **SMALL)
    with pytest.raises(sn.UserError, match="norm running needs a search that keeps running statistics"):
        ranked(untracked, norm="running")
    assert ranked(untracked, count=2).images == 30
    images = PairDataset(tiny_images(24))
    own = sn.search(images, space=ragged_space(), out=tmp_path / "own", **SMALL | {"images": None})
    with pytest.raises(sn.UserError, match="space 'ragged' has no table of accuracies to rank against"):
        sn.rank(own, data=images, space=ragged_space(), device="cpu")


def test_the_command_prints_the_agreement(run, call):
    options = ["--count", "12", "--images", "20", "--truth", "in16_test", "--top", "2", "--device", "cpu"]
    status, out, _ = call("rank", str(run.path), *options)
    found = json.loads((run.path / "rank.json").read_text())
    assert status == 0
    assert out.splitlines()[1] == "architectures 12 (uniform), evaluated on 20 images"
    assert f"{found['whole']['tau']:.2f}, among the truly best half {found['best_half']['tau']:.2f}" in out
    assert f"pairs         {100 * found['whole']['pairs']:.1f} %" in out
    assert f"regret        {found['whole']['regret']:.2f} points from the best of the 2 highest" in out
    assert f"{run.path}/rank.svg" in out.replace("\n", "")
    assert found["config"]["truth"] == "in16_test"
    assert call("rank", "nowhere")[::2] == (2, "supernet: 'nowhere' is no run folder of a search\n")


def test_the_command_has_no_workers():
    with pytest.raises(SystemExit) as stop:
        cli.main(["rank", "x", "--workers", "2"])
    assert stop.value.code == 2
