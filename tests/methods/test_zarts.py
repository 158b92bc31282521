"""Zero-order search: its updates written out, their schedule, batches and passes, and the state they leave alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from supernet.data import Augment, Batch, Batches
from supernet.engine.callbacks import Callback
from supernet.engine.loop import LazyBatches, Loop
from supernet.engine.optim import SGDConfig
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.methods.base import Budget, Stream
from supernet.methods.zarts import estimators
from supernet.methods.zarts.config import ZeroOrderConfig
from supernet.methods.zarts.method import ZeroOrder
from supernet.methods.zarts.objective import CandidateBatches, parted
from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.models.cost.targets import Targets
from supernet.models.evaluate import Scores
from supernet.models.lookahead import Lookahead
from supernet.models.mix import detached
from supernet.models.supernet import Supernet
from supernet.searching.plan import planned as plan
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, PairDataset, noise_batch, tiny_images

_, RAGGED, TWO, *_ = EXAMPLE_SPACES
NOISY = SearchSpace("noisy", {"cell": Cell.dense(3, ("noise", "nor_conv_1x1"))}, Stages(("cell",)))
STRONG = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)
TINY = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "mirror": False}
each_estimator = pytest.mark.parametrize("estimator", ["rs", "mgs", "gld"])


def make(home=RAGGED, epochs=4, targets=None, seed=3, kind=ZeroOrder, workers=1, **settings):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    config = ZeroOrderConfig(**{"samples": 2, "steps": 2, "every": 1, "warmup": 0} | settings)
    found = kind(config, supernet, Budget(epochs, STRONG, seed, targets=targets, workers=workers))
    found.begin_epoch(0)
    return found


def batches(seed, inner=4):
    return {"weights": noise_batch(seed), "alpha": noise_batch(100 + seed), "inner": noise_batch(200 + seed, inner)}


def halves(batch):
    return [Batch(*(part[start : start + 2] for part in batch)) for start in (0, 2)]


def flat(found):
    """The alphas of all candidates as one vector."""
    return torch.cat([alpha[found.alphas.masks[kind]] for kind, alpha in found.alphas.items()])


# Updates written out


def shifted(found, step):
    """The mix after a step of alpha."""
    values, start = {}, 0
    for kind, alpha in found.alphas.items():
        values[kind] = alpha.clone()
        for e, row in enumerate(found.alphas.masks[kind].tolist()):
            for k, there in enumerate(row):
                if there:
                    values[kind][e, k] += step[start]
                    start += 1
    assert start == len(step)
    return found.alphas.mix(values)


def losses(found, steps, given, seed, *, inner=True):
    """The losses of the given steps of alpha, by a lookahead of its own."""
    mixes = [shifted(found, step) for step in steps]
    inner = {1: [given["inner"]], 2: halves(given["inner"])}[found.config.steps] if inner else []
    return Lookahead(found.supernet, STRONG).losses(found.optimizer, mixes, inner, given["alpha"], seed=seed)


def seed_and_draws(found):
    draws = torch.Generator()
    draws.set_state(found.generator.get_state())
    return int(torch.randint(2**62, (), generator=draws)), draws


@pytest.mark.usefixtures("still_noise")
@pytest.mark.parametrize("home", [RAGGED, TWO], ids=lambda home: home.name)
def test_an_update_of_guided_search(home):
    found, given = make(home, samples=3, sigma=0.2, tau=0.3, lam=0.3), batches(1)
    (seed, draws), before = seed_and_draws(found), flat(found)
    supernet = make(home).supernet
    values = {kind: alpha.clone().requires_grad_() for kind, alpha in found.alphas.items()}
    loss = F.cross_entropy(supernet(given["alpha"].x, found.alphas.mix(values)), given["alpha"].y)
    slopes = torch.autograd.grad(loss, list(values.values()))
    g = torch.cat([part[mask] for part, mask in zip(slopes, found.alphas.masks.values(), strict=True)])
    assert g.norm() > 1e-3
    u = estimators.proposed(3, g, 0.2, 0.3, "mixture", draws)
    c = estimators.importance(losses(found, u, given, seed), u, g, 0.2, 0.3, 0.3, "released")
    found.step(given)
    torch.testing.assert_close(flat(found), before + c @ u, rtol=1e-9, atol=1e-12)
    row = found.end_epoch(0, 0.5)
    assert row["effective_samples"] == pytest.approx(1 / (c**2).sum().item())
    assert row["heaviest_rank"] == 1  # the floor is large beside these densities: the losses decide
    for ablation, wanted in (("uniform", before + u.mean(0)), ("gradient", before - g)):
        free = make(home, samples=3, sigma=0.2, tau=0.3, lam=0.3, importance=ablation)
        assert set(free.streams) == {"weights", "alpha"}
        free.step({name: given[name] for name in free.streams})
        torch.testing.assert_close(flat(free), wanted, rtol=1e-9, atol=1e-12)
        row = free.end_epoch(0, 0.5)
        assert row["passes"] == {"forward_backward": 2, "forward": 0}  # of the gradient and of the weights
        assert row["effective_samples"] is None


@pytest.mark.usefixtures("still_noise")
@pytest.mark.parametrize("steps", [0, 1])
def test_candidates_are_evaluated_on_all_of_several_batches(steps, monkeypatch):
    """The stand-in for the estimator keeps the losses that it is given."""
    found, given = make(samples=3, steps=steps, sigma=0.2, eval_batches=3), batches(1)
    given["evaluation"] = noise_batch(300, 7)  # of which two parts have three images each
    if steps:
        given["inner"] = noise_batch(201, 4)
    assert found.streams["evaluation"] == Stream("validation", None, 2, whole=True)
    parts = [given["alpha"], *(Batch(*(part[start : start + 3] for part in given["evaluation"])) for start in (0, 3))]
    seed, draws = seed_and_draws(found)
    gradient, seen = found.objective.gradient(CandidateBatches(given["alpha"], [], seed)), []
    u = estimators.proposed(3, gradient, 0.2, found.config.lam, "mixture", draws)
    each = [losses(found, u, given | {"alpha": part}, seed, inner=steps > 0) * len(part.y) for part in parts]
    importance = estimators.importance
    monkeypatch.setattr(estimators, "importance", lambda *args: seen.append(args[0]) or importance(*args))
    found.step({name: given[name] for name in found.streams})
    torch.testing.assert_close(seen[0], sum(each) / sum(len(part.y) for part in parts), rtol=1e-9, atol=1e-12)
    passes = {"forward_backward": 3 + 3 * steps, "forward": 3 * 3}  # of the weights, of two gradients, of lookahead
    assert found.end_epoch(0, 0.5)["passes"] == passes


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "samples", "steps"), [("rs", 2, 0), ("mgs", 4, 1), ("gld", 1, 0)])
@pytest.mark.usefixtures("still_noise")
def test_a_check_of_the_order_compares_two_draws_and_changes_nothing(estimator, samples, steps):
    """Checked are the first and the third update, each on two draws of two batches."""
    settings = {"estimator": estimator, "samples": samples, "steps": steps, "base_loss": "with_inner"}
    found, plain = (make(order_check=check, eval_batches=2, **settings) for check in (2, None))
    assert found.streams["order"] == Stream("validation", None, 4, whole=True)
    wanted = []
    for number in range(3):
        given = batches(number) | {"evaluation": noise_batch(300 + number), "order": noise_batch(400 + number, 8)}
        mine = {name: given[name] for name in found.streams if name != "order" or number != 1}
        other = copy.deepcopy(found)
        (seed, _), trained = seed_and_draws(found), found.supernet.passes
        found.step(mine)
        plain.step({name: given[name] for name in plain.streams})
        assert torch.equal(flat(found), flat(plain))
        assert found.supernet.passes - trained == plain.supernet.passes - other.supernet.passes
        if number != 1:
            tried, inner = found.objective.evaluated, steps > 0
            each = [
                losses(other, tried, given | {"alpha": part}, seed, inner=inner) for part in parted(given["order"], 4)
            ]
            means = torch.stack([each[0] + each[1], each[2] + each[3]])
            wanted.append(torch.corrcoef(means.argsort().argsort().double())[0, 1].item())  # the losses have no ties
    mine, plain = (method.end_epoch(0, 0.5) for method in (found, plain))
    assert mine.pop("order_correlation") == pytest.approx(sum(wanted) / 2)
    assert str(mine) == str(plain)


@pytest.mark.parametrize("setting", [{"eval_batches": 2}, {"order_check": 1}])
@pytest.mark.parametrize("importance", ["uniform", "gradient"])
def test_a_setting_of_losses_is_refused_where_no_candidate_is_evaluated(setting, importance):
    said = f"^setting {next(iter(setting))} needs losses, and importance {importance} evaluates none$"
    with pytest.raises(UserError, match=said):
        make(importance=importance, **setting)


@pytest.mark.parametrize("direction", ["sphere", "normal"])
@pytest.mark.parametrize(
    ("form", "base"),
    [("antithetic", "no_inner"), ("two_point", "no_inner"), ("two_point", "with_inner"), ("one_point", "no_inner")],
)
def test_an_update_of_random_search(form, base, direction):
    found = make(estimator="rs", form=form, direction=direction, base_loss=base, delta=0.2, lr=0.7, samples=2)
    given, before = batches(1), flat(found)
    (seed, draws), sizes = seed_and_draws(found), [7, 3]  # three edges of 2, 3 and 2 operations, and one of 3
    u = estimators.spherical(2, sizes, draws) if direction == "sphere" else estimators.normal((2, 10), draws)
    phi = torch.tensor([7.0] * 7 + [3.0] * 3).double() if direction == "sphere" else 1
    plus = losses(found, 0.2 * u, given, seed)
    other, width = {
        "antithetic": (losses(found, -0.2 * u, given, seed), 0.4),
        "two_point": (losses(found, torch.zeros(1, 10), given, seed, inner=base == "with_inner"), 0.2),
        "one_point": (0, 0.2),
    }[form]
    found.step(given)
    wanted = before - 0.7 * (phi / width * (plus - other)[:, None] * u).mean(0)
    torch.testing.assert_close(flat(found), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("base", ["no_inner", "with_inner"])
def test_an_update_of_gradientless_descent(base):
    found, given = make(estimator="gld", base_loss=base, radius=2.0, steps=1), batches(1)
    (seed, draws), before = seed_and_draws(found), flat(found)
    radii = estimators.radii(2.0, 3, 7)
    u = torch.tensor(radii).double()[:, None] * estimators.spherical(len(radii), [7, 3], draws)
    start = losses(found, torch.zeros(1, 10), given, seed, inner=base == "with_inner")
    best = min(zip(losses(found, u, given, seed).tolist(), u, strict=True), key=lambda pair: pair[0])
    better = base == "with_inner"
    assert (best[0] < start.item()) == better  # here a loss before the steps cannot be beaten
    found.step(given)
    torch.testing.assert_close(flat(found), before + best[1] * better, rtol=1e-9, atol=1e-12)
    assert found.end_epoch(0, 0.5)["accepted"] == better


def test_gradientless_descent_never_increases_the_objective():
    found = make(estimator="gld", base_loss="with_inner", steps=1)
    assert METHODS["zarts-gld"].settings["base_loss"] == "with_inner"
    for number in range(4):
        seen = CandidateBatches(noise_batch(number), halves(noise_batch(50 + number, 4)), number)
        stay = torch.zeros(1, 10, dtype=torch.float64)
        before = found.objective.values(stay, seen).item()
        found.update(seen)
        assert found.objective.values(stay, seen).item() <= before
    alphas = flat(found)
    found.objective.values = lambda steps, seen: torch.linalg.vector_norm(steps, dim=1)  # the best is to stay
    found.update(seen)
    assert torch.equal(flat(found), alphas)
    assert found.end_epoch(0, 0.5)["accepted"] == 4 / 5


@pytest.mark.parametrize("estimator", ["mgs", "rs", "gld"])
def test_a_candidate_whose_lookahead_diverges_is_not_taken(estimator, monkeypatch):
    found = make(estimator=estimator, samples=3, base_loss="with_inner")
    score, diverged = found.objective.lookahead.scores, {0, 1}

    def scores(*arguments, **more):
        whole = score(*arguments, **more)
        wrong = [math.nan if number in diverged else loss for number, loss in enumerate(whole.loss)]
        return replace(whole, loss=wrong)

    monkeypatch.setattr(found.objective.lookahead, "scores", scores)
    before = flat(found)
    found.step(batches(1))
    assert flat(found).isfinite().all()
    assert not torch.equal(flat(found), before)
    diverged |= set(range(100))
    before = flat(found)
    found.step(batches(2))
    assert torch.equal(flat(found), before)  # of candidates that all diverge none is better


@each_estimator
def test_the_order_of_candidates_of_which_one_diverges_has_no_value(estimator, monkeypatch):
    found = make(estimator=estimator, samples=3, order_check=1)
    score = found.objective.lookahead.scores

    def scores(*arguments, **more):
        whole = score(*arguments, **more)
        return replace(whole, loss=[math.nan, *whole.loss[1:]])

    monkeypatch.setattr(found.objective.lookahead, "scores", scores)
    found.step(batches(1) | {"order": noise_batch(5)})
    assert found.end_epoch(0, 0.5)["order_correlation"] is None


# State that an update does not change


def everything(found):
    """The supernet, the momentum, the gradients and the random state as lists."""
    momenta = [state["momentum_buffer"].tolist() for state in found.optimizer.state.values()]
    gradients = [None if w.grad is None else w.grad.tolist() for w in found.weights]
    state = {name: value.tolist() for name, value in found.supernet.state_dict().items()}
    return state, momenta, gradients, torch.get_rng_state().tolist()


@each_estimator
@pytest.mark.parametrize("home", [RAGGED, NOISY], ids=lambda home: home.name)
def test_an_update_changes_alpha_alone(estimator, home):
    found = make(home, estimator=estimator, inner_opt="copied", base_loss="with_inner", steps=1)
    found.weight_step(noise_batch(0), found.mix())  # for momentum and a gradient
    before, alphas = everything(found), flat(found)
    assert before[1]
    found.update(CandidateBatches(noise_batch(1), halves(noise_batch(2, 4)), 5))
    assert everything(found) == before
    assert not torch.equal(flat(found), alphas)


@each_estimator
def test_columns_without_a_candidate_stay_as_they_are(estimator):
    found = make(estimator=estimator, samples=3, steps=1)
    before = {kind: alpha.clone() for kind, alpha in found.alphas.items()}
    for number in range(2):
        found.step(batches(number))
    for kind, alpha in found.alphas.items():
        mask = found.alphas.masks[kind]
        assert torch.equal(alpha[~mask], before[kind][~mask])
        assert (alpha[mask] != before[kind][mask]).all()
    assert (~found.alphas.masks["normal"]).sum() == 2


# The schedule and the batches of updates


def test_alpha_moves_after_the_warm_up_every_few_steps_and_before_the_weights():
    found = make(epochs=5, warmup=None, every=3)
    moves, steps = [], []
    found.objective.move = lambda step: moves.append((found.epoch, found.steps, len(steps)))
    weight_step = found.weight_step
    found.weight_step = lambda *given: steps.append(1) or weight_step(*given)
    for epoch in range(3):
        found.begin_epoch(epoch)
        for number in range(7):
            found.step(batches(number))
    assert moves == [(1, 0, 7), (1, 3, 10), (1, 6, 13), (2, 0, 14), (2, 3, 17), (2, 6, 20)]  # a fifth of 5 is 1


def test_the_weights_step_with_the_alphas_just_moved():
    found, given = make(lr=5.0, estimator="rs"), batches(1)
    start, optimizer = make().supernet, copy.deepcopy(found.optimizer.state_dict())
    found.step(given)
    by_hand = STRONG.optimizer(start.parameters())
    by_hand.load_state_dict(optimizer)
    F.cross_entropy(start(given["weights"].x, detached(found.mix())), given["weights"].y).backward()
    torch.nn.utils.clip_grad_norm_(list(start.parameters()), STRONG.clip)
    by_hand.step()
    for mine, theirs in zip(start.parameters(), found.weights, strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "epochs", "warmup", "every"),
    [
        ({}, 50, 10, 10),
        ({}, 2, 0, 10),
        ({"steps": 0}, 9, 1, 1),
        ({"steps": 3, "warmup": 4, "every": 5}, 5, 4, 5),
    ],
)
def test_defaults_of_warmup_and_every(settings, epochs, warmup, every):
    found = make(epochs=epochs, **{"steps": 10, "every": None, "warmup": None} | settings)
    assert (found.warmup, found.every) == (warmup, every)


def test_sigma_falls_over_the_epochs_after_the_warm_up():
    found = make(epochs=50, warmup=10, sigma=0.2)
    for epoch, share in ((0, 1), (10, 1), (11, 0.5 * (1 + math.cos(math.pi / 40))), (30, 0.5), (49, 0.00154)):
        found.begin_epoch(epoch)
        assert found.sigma == pytest.approx(0.2 * share, rel=2e-3)
    assert make(sigma=0.3, sigma_schedule="constant").sigma == 0.3


@pytest.mark.parametrize(("space", "sigma"), [("nasbench201", 0.2), ("s2", 0.2), ("darts7", 0.025)])
def test_sigma_follows_the_number_of_alphas(space, sigma):
    """The released scripts have 0.2 for S1 to S4, and 0.025 for the 196 alphas of CIFAR-10."""
    task = SearchTask(planned(space=space, depth=1 if space == "nasbench201" else 3))
    assert task.method.sigma == sigma


def test_streams_and_their_draws():
    found = make(steps=3, inner_batch=5, every=2)
    assert found.streams == {
        "weights": Stream("train"),
        "alpha": Stream("validation", whole=True),
        "inner": Stream("validation", 5, 3, whole=True),
    }
    assert make(inner_split="train").streams["inner"] == Stream("train", 48, 2, whole=True)
    assert Stream.of("all") == Stream("all", None)
    found = make(steps=3, inner_batch=5, every=2, eval_batches=3)
    given = {name: Batches(tiny_images(12), torch.arange(12), 4, Augment(), seed=0) for name in found.streams}
    drawn, steps = {name: [] for name in given}, []
    for name, stream in given.items():
        stream.next = lambda name=name, draw=stream.next: drawn[name].append(len(steps)) or draw()
    found.supernet.float()
    for alpha in found.alphas.values():
        alpha.data = alpha.data.float()
    for number in range(5):
        found.step(LazyBatches(given))
        steps.append(number)
    assert drawn == {name: [0, 2, 4] if name in ("evaluation", "inner") else [0, 1, 2, 3, 4] for name in given}
    lazy = LazyBatches(given)
    assert lazy["alpha"] is lazy["alpha"]
    assert (list(lazy), len(lazy), len(drawn["alpha"])) == (list(given), 4, 6)


@pytest.mark.parametrize(
    ("images", "wanted"), [(8, [[0, 1], [2, 3], [4, 5]]), (3, [[0], [1], [2]]), (2, [[0], [1], [0]])]
)
def test_every_lookahead_step_has_images(images, wanted):
    found = parted(noise_batch(0, images), 3)
    assert [batch.index.tolist() for batch in found] == wanted
    assert [len(batch.x) for batch in found] == [len(index) for index in wanted]


def test_without_inner_steps_no_batch_is_drawn_for_them_as_in_released():
    released, none = make(inner_opt="released"), make(steps=0)
    for found in (released, none):
        assert set(found.streams) == {"weights", "alpha"}
        for number in range(3):
            found.step({name: batch for name, batch in batches(number).items() if name != "inner"})
    assert torch.equal(flat(released), flat(none))
    assert not torch.equal(flat(make()), flat(none))


def test_passes_are_counted():
    """A step of the weights is one pass forward and backward, and so is a gradient of alpha."""
    for settings, updates, learned, judged in (
        ({}, 2, 4 + 2 * (1 + 2 * 2), 2 * 2),
        ({"estimator": "rs"}, 2, 4 + 2 * 2 * 2 * 2, 2 * 2 * 2),
        ({"estimator": "rs", "form": "two_point"}, 2, 4 + 2 * 2 * 2, 2 * 3),
        ({"estimator": "gld", "base_loss": "with_inner", "steps": 1}, 2, 4 + 2 * (11 + 1), 2 * (11 + 1)),
    ):
        found = make(every=2, **settings)
        for number in range(4):
            found.step(batches(number))
        row = found.end_epoch(0, 0.5)
        assert row["updates"] == updates
        assert row["passes"] == {"forward_backward": learned, "forward": judged}
        assert ("sigma" in row, "accepted" in row) == (not settings, settings.get("estimator") == "gld")
    assert len(estimators.radii(0.13, 3, 7)) == 11
    row = found.end_epoch(1, 0.5)
    assert row["accepted"] is None  # nothing in this epoch


# Targets


@each_estimator
def test_a_target_reduces_the_op_weights_that_cost(estimator):
    """With equal losses only the cost decides."""
    settings = {"sigma": 0.1, "tau": 0.1, "lr": 5.0}
    feasible = FeasibleSet(RAGGED, NetworkSize(2, 1, (8, 8), 1, 3))
    targets = Targets(feasible, Limits(max_params=1), 4)
    targets.multipliers["params"] = 10.0
    found = make(estimator=estimator, targets=targets, samples=6, **settings)
    found.objective.lookahead.scores = lambda optimizer, mixes, *given, **named: Scores([], [0.0] * len(mixes))
    seen, prices, costs = CandidateBatches(noise_batch(1), [], 0), Expected(feasible, "params"), []
    for _ in range(31):
        costs.append(float(prices({kind: edges.weights for kind, edges in found.mix().items()})))
        found.update(seen)
    assert costs[-1] < 0.95 * costs[0]
    free = make(estimator=estimator, **settings)
    for kind, alpha in found.alphas.items():
        free.alphas[kind].copy_(alpha)
    torch.testing.assert_close(found.objective.gradient(seen), free.objective.gradient(seen))  # without the penalty


# In a search


def planned(images=24, **choices):
    return plan(PairDataset(tiny_images(images)), method="zarts-mgs", **TINY | choices)


def rows(folder, **choices):
    folder.mkdir()
    torch.manual_seed(0)
    given, run = planned(steps=1, samples=2, every=4, space=RAGGED, **choices), Run(folder)
    Loop(SearchTask(given), run, given.config.epochs, Callback())()
    return [{k: v for k, v in row.items() if k not in ("seconds", "diagnostics")} for row in run.metrics]


def test_a_diagnosis_changes_nothing(tmp_path):
    plain = rows(tmp_path / "plain", batch_size=1)  # 12 steps an epoch, measured every tenth
    assert rows(tmp_path / "diagnosed", batch_size=1, monitor="gradients") == plain
    assert plain[0]["alphas"] != plain[1]["alphas"]


def test_validation_images_are_those_of_alpha_and_lookahead():
    task = SearchTask(planned())
    assert task.validated == 12
    assert len(task.streams["inner"].next().y) == 12  # all of them
    assert len(task.streams["weights"].next().y) == 6
    more = SearchTask(planned(eval_batches=2, batch_size=5))
    assert (more.validated, more.streams["evaluation"].size) == (12, 5)
    assert SearchTask(planned(eval_batches=4, batch_size=5)).streams["evaluation"].size == 12  # of 15
    order = SearchTask(planned(order_check=3, batch_size=5)).streams["order"].next()
    assert len(set(order.index.tolist())) == 10  # two draws without an image in common


def test_workers_reach_the_lookahead_and_are_not_recorded():
    given = planned(workers=2)
    assert ", 2 workers, on cpu" in given.running
    lookahead = SearchTask(given).method.objective.lookahead
    assert (lookahead.workers, lookahead.device) == (2, given.device)
    assert given.record == planned().record
    with pytest.raises(UserError, match="setting workers must be at least 1, not 0"):
        planned(workers=0)
    with pytest.raises(
        UserError, match="workers share the lookahead of zero-order methods; this method has no lookahead"
    ):
        plan("digits", method="darts", workers=2, **TINY)


class Smooth(ZeroOrder):
    def loss(self, logits, y):
        return F.cross_entropy(logits, y, label_smoothing=0.5)


@pytest.mark.usefixtures("still_noise")
def test_a_loss_of_ones_own_is_that_of_lookahead_and_of_the_gradient(monkeypatch):
    own, plain = make(kind=Smooth), make()
    given, steps = (
        batches(1),
        torch.randn(3, sum(own.alphas.sizes), generator=torch.Generator().manual_seed(0)).double(),
    )
    few, none = (CandidateBatches(given["alpha"], inner, 0) for inner in (halves(given["inner"]), []))

    def found(method):
        return torch.cat([method.objective.values(steps, few), method.objective.values(steps, none)]), (
            method.objective.gradient(none)
        )

    of_own, of_plain = found(own), found(plain)
    monkeypatch.setattr(F, "cross_entropy", partial(F.cross_entropy, label_smoothing=0.5))
    for one, other, smooth in zip(of_own, of_plain, found(plain), strict=True):
        torch.testing.assert_close(one, smooth, rtol=1e-12, atol=1e-12)
        assert not torch.isclose(one, other).any()
    with pytest.raises(UserError, match="a method with a loss of its own: leave --workers at 1"):
        make(kind=Smooth, workers=2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 0}, "setting samples must be at least 1, not 0"),
        ({"steps": -1}, "setting steps must be at least 0, not -1"),
        ({"every": 0}, "setting every must be at least 1, not 0"),
        ({"inner_batch": 0}, "setting inner_batch must be at least 1, not 0"),
        ({"sigma": 0.0}, "setting sigma must be above 0, not 0.0"),
        ({"tau": -1.0}, "setting tau must be above 0, not -1.0"),
        ({"delta": math.inf}, "setting delta must be a finite number, not inf"),
        ({"radius": 0.0}, "setting radius must be above 0, not 0.0"),
        ({"lam": 1.5}, "setting lam must be at most 1, not 1.5"),
        ({"warmup": 2}, r"setting warmup must be less than epochs \(2\), not 2"),
    ],
)
def test_invalid_settings(settings, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        SearchTask(planned(**settings))
