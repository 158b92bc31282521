"""The best of samples: the architectures, the images of their evaluation, and the choice."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from supernet.engine.optim import SGDConfig
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods.base import Budget, NoConfig
from supernet.methods.single_path import RSPS
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.feasible import FeasibleSet, NoDrawError
from supernet.models.cost.latency import latency_fields
from supernet.models.cost.limits import Limits
from supernet.models.cost.targets import Targets
from supernet.models.evaluate import first_images
from supernet.models.mix import detached
from supernet.models.supernet import Supernet
from supernet.searching.search import search
from supernet.selectors.best_of_samples import BestOfSamples, BestOfSamplesConfig, samples
from supernet.spaces import NetworkSize
from supernet.spaces.modules import Norm
from supernet.spaces.sampling import likeliest
from supernet.testing import EXAMPLE_SPACES, PairDataset, noise_batch, tiny_images

NB201, RAGGED, TWO, MACRO, _ = EXAMPLE_SPACES
SIZE = NetworkSize(2, 1, (8, 8), 1, 3)


def method_of(home, track=True, targets=None):
    torch.manual_seed(0)
    return RSPS(
        NoConfig(), Supernet(home, SIZE, Norm(False, track)).double(), Budget(2, SGDConfig(), 0, targets=targets)
    )


def validation(count=3, size=8):
    return lambda: (noise_batch(seed, size) for seed in range(count))


def choose(method, given, config, feasible=None, seed=1):
    return BestOfSamples(config, method, feasible or FeasibleSet(method.supernet.space, SIZE), given, seed)


def by_hand(method, genotype, batches):
    """Accuracy and loss of one architecture, one batch after the other, with the batch's statistics."""
    supernet, hits, loss, count = method.supernet, 0, 0.0, 0
    with torch.no_grad():
        for batch in batches:
            logits = supernet(batch.x, detached(supernet.only(genotype)))
            hits += int((logits.argmax(1) == batch.y).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, batch.y, reduction="sum"))
            count += len(batch.y)
    return hits / count, loss / count


@pytest.mark.usefixtures("still_noise")
@pytest.mark.parametrize("home", [NB201, RAGGED, MACRO], ids=lambda home: home.name)
def test_the_most_accurate_in_the_supernet_is_selected(home):
    method, given = method_of(home, track=False), validation()
    selector = choose(method, given, BestOfSamplesConfig(samples=12))
    found = selector.genotype()
    drawn = samples(method, selector.feasible, "own", 12, random.Random(1))
    scores = {genotype: by_hand(method, genotype, given()) for genotype in drawn}
    assert selector.report()["accuracies"] == pytest.approx({str(g): a for g, (a, _) in scores.items()})
    best = max(accuracy for accuracy, _ in scores.values())
    assert scores[found][0] == best
    assert scores[found][1] == pytest.approx(
        min(loss for accuracy, loss in scores.values() if accuracy == best), rel=1e-5
    )
    assert selector.report()["supernet_accuracy"] == best
    assert selector.report()["passes"] == 12


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_prior_is_ranked_by_as_well(share):
    method, given = method_of(NB201), validation()
    selector = choose(method, given, BestOfSamplesConfig(samples=12, prior="params", prior_share=share))
    found, report = selector.genotype(), selector.report()
    accuracies, costs = report["accuracies"], OperationCosts(NB201, SIZE)
    assert report["prior"] == {name: costs.total(NB201.parse(name)).params for name in accuracies}

    def rank(row, name):
        return sum((row[name] > other) - (row[name] < other) for other in row.values())

    both = {n: (1 - share) * rank(accuracies, n) + share * rank(report["prior"], n) for n in accuracies}
    assert both[str(found)] == pytest.approx(max(both.values()))
    if share == 0.0:
        assert found == choose(method, given, BestOfSamplesConfig(samples=12)).genotype()


@pytest.mark.parametrize("prior", [None, "naswot"])
def test_an_architecture_above_the_targets_of_the_search_is_worth_less(prior):
    targets = Targets(FeasibleSet(NB201, SIZE), Limits(max_params=500), 2)
    targets.multipliers["params"] = 10.0
    method = method_of(NB201, targets=targets)
    selector = choose(method, validation(), BestOfSamplesConfig(samples=12, prior=prior, prior_share=0.0))
    found, accuracies = selector.genotype(), selector.report()["accuracies"]
    worth = {name: a - targets.excess(method.supernet.only(NB201.parse(name))) for name, a in accuracies.items()}
    assert worth[str(found)] == max(worth.values()) < max(accuracies.values())


def test_the_evaluation_does_not_change_the_supernet_and_a_seed_decides():
    method, given = method_of(NB201), validation()
    before = {name: value.clone() for name, value in method.supernet.state_dict().items()}
    one, two, other = (choose(method, given, BestOfSamplesConfig(samples=9), seed=s) for s in (1, 1, 2))
    assert one.genotype() == two.genotype()
    other.genotype()
    assert one.report()["accuracies"] != other.report()["accuracies"]
    for name, value in method.supernet.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("images", "sizes"), [(1, [1]), (8, [8]), (9, [5, 4]), (17, [6, 6, 5]), (20, [8, 8, 4]), (100, [8, 8, 4])]
)
def test_the_first_images_are_in_batches_of_nearly_equal_size(images, sizes):
    """A small last batch would be scored by statistics of few images; batches that remain whole are those given."""
    given = [noise_batch(0, 8), noise_batch(1, 8), noise_batch(2, 4)]
    found = first_images(lambda: given, images)
    assert [len(batch.y) for batch in found()] == [len(batch.x) for batch in found()] == sizes
    for seen, whole in zip(zip(*found(), strict=True), zip(*given, strict=True), strict=True):
        assert torch.equal(torch.cat(seen), torch.cat(whole)[:images])
    assert first_images(found, None) is found


@pytest.mark.parametrize("norm", ["batch", "recalibrated", "running"])
def test_one_image_of_one_pixel_has_no_statistics_and_is_refused(norm):
    small = NetworkSize(2, 1, (1, 1), 1, 3)
    method = RSPS(NoConfig(), Supernet(NB201, small, Norm(False, track=True)).double(), Budget(2, SGDConfig(), 0))
    given = lambda: [noise_batch(0, 8, side=1)]  # noqa: E731  a source of batches
    config = BestOfSamplesConfig(samples=2, images=1, norm=norm)
    chosen = BestOfSamples(config, method, FeasibleSet(NB201, small), given, 1)
    if norm == "running":
        chosen.genotype()
        return
    with pytest.raises(UserError, match="at batch size 1 and features of 1x1 pixels"):
        chosen.genotype()


def test_running_statistics_are_used_if_asked_for():
    method, given = method_of(NB201), validation()
    with torch.no_grad():
        for module in method.supernet.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.fill_(1e4)  # these make all outputs nearly equal
    batch = choose(method, given, BestOfSamplesConfig(samples=6))
    running = choose(method, given, BestOfSamplesConfig(samples=6, norm="running"))
    batch.genotype()
    running.genotype()
    assert batch.report()["accuracies"] != running.report()["accuracies"]


@pytest.mark.parametrize("sampler", ["own", "uniform", "alpha", "likeliest"])
@pytest.mark.parametrize("home", [RAGGED, MACRO, TWO], ids=lambda home: home.name)
def test_architectures_are_different_and_at_most_the_whole_space(home, sampler):
    method, feasible = method_of(home), FeasibleSet(home, SIZE)
    few = samples(method, feasible, sampler, 5, random.Random(0))
    assert len(set(few)) == len(few) == 5
    assert all(home.check(genotype) is genotype for genotype in few)
    if home is MACRO:
        assert len(samples(method, feasible, sampler, 33, random.Random(0))) == home.size


def test_the_likeliest_are_those_by_op_scores():
    weights = {"cell": torch.rand(6, 5, generator=torch.Generator().manual_seed(0))}
    method = SimpleNamespace(
        op_score_lists=lambda: {kind: part.tolist() for kind, part in weights.items()}, supernet=None
    )
    found = samples(method, FeasibleSet(NB201, SIZE), "likeliest", 4, random.Random(0))
    assert found == likeliest(NB201, {"cell": weights["cell"].tolist()}, 4)


@pytest.mark.parametrize("sampler", ["own", "uniform", "alpha", "likeliest"])
def test_only_architectures_within_the_limits_are_evaluated(sampler):
    feasible = FeasibleSet(NB201, SIZE, Limits(max_params=600))
    assert not all(feasible.allows(NB201.sample(random.Random(n))) for n in range(20))
    found = samples(method_of(NB201), feasible, sampler, 6, random.Random(0))
    assert len(found) == 6
    assert all(feasible.allows(genotype) for genotype in found)


@pytest.mark.slow
def test_a_search_within_rare_limits_evaluates_as_many_architectures_as_without(tmp_path):
    given = {"space": "mobile", "method": "rsps", "epochs": 1, "device": "cpu", "quiet": True, "width": 2, "images": 64}
    run = search(
        "digits", max_params=31_000, target_width=2, out=tmp_path, select={"samples": 12, "images": 32}, **given
    )
    evaluated = Run(tmp_path / "selections" / "best-of-samples").summary
    assert len(evaluated["accuracies"]) == 12
    assert run.summary["params"] <= 31_000


def test_without_a_sample_within_the_limits_the_op_scores_decide_within_them():
    largest, scores = NB201.choose({"cell": (3,) * 6}), [[0.3, 0.1, 0.2, 0.9, 0.0]] * 6
    method, feasible = method_of(NB201), FeasibleSet(NB201, SIZE, Limits(max_params=1300))
    method.proposals = lambda count, rng: [largest] * count
    method.op_score_lists = lambda: {"cell": scores}
    assert not feasible.allows(largest)
    chosen = choose(method, validation(), BestOfSamplesConfig(), feasible).genotype()
    assert feasible.allows(chosen)
    assert chosen == feasible.best({"cell": scores})


@pytest.mark.parametrize("sampler", ["own", "uniform"])
def test_without_a_random_draw_within_the_limits_the_op_scores_decide_within_them(sampler, monkeypatch):
    method, field = method_of(NB201), latency_fields(NB201)[0]
    every = FeasibleSet(NB201, SIZE, Limits(max_latency_ms=1e9, latency=field))
    fastest = every.latency.ms(every.smallest)
    feasible = FeasibleSet(NB201, SIZE, Limits(max_latency_ms=fastest, latency=field))
    monkeypatch.setattr("supernet.models.cost.feasible._DRAWS", 3)
    chosen = choose(method, validation(), BestOfSamplesConfig(sampler=sampler), feasible).genotype()
    assert chosen == feasible.best(method.op_score_lists())
    with pytest.raises(NoDrawError, match="3 random draws from space"):
        samples(method, feasible, sampler, 5, random.Random(0))


def test_what_was_drawn_before_a_draw_in_vain_is_evaluated(monkeypatch):
    feasible, one = FeasibleSet(NB201, SIZE), NB201.sample(random.Random(0))
    draws = iter([one, NoDrawError("none")])

    def sample(rng):
        drawn = next(draws)
        if isinstance(drawn, NoDrawError):
            raise drawn
        return drawn

    monkeypatch.setattr(feasible, "sample", sample)
    assert samples(method_of(NB201), feasible, "uniform", 5, random.Random(0)) == [one]


@pytest.mark.parametrize("settings", [{"samples": 0}, {"images": 0}])
def test_invalid_settings_are_refused(settings):
    with pytest.raises(UserError, match="must be at least 1"):
        BestOfSamplesConfig(**settings)


@pytest.mark.parametrize("method", ["rsps", "enas"])
def test_running_statistics_that_are_not_kept_are_refused_before_training(method, tmp_path):
    choices = {"method": method, "select": {"norm": "running"}, "norm_track": False, "device": "cpu"}
    images = PairDataset(tiny_images(12))
    with pytest.raises(UserError, match="norm running needs a search that keeps running statistics"):
        search(images, out=tmp_path / "run", quiet=True, epochs=1, batch_size=6, width=2, **choices)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("sampler", ["alpha", "likeliest"])
def test_op_scores_below_0_are_no_shares_to_draw_by(sampler, monkeypatch):
    method = method_of(NB201)
    scores = {kind: [[-value for value in row] for row in rows] for kind, rows in method.op_score_lists().items()}
    monkeypatch.setattr(method, "op_score_lists", lambda: scores)
    with pytest.raises(UserError, match=f"sampler {sampler} takes op scores for shares, and some are below 0"):
        samples(method, FeasibleSet(NB201, SIZE), sampler, 5, random.Random(0))
