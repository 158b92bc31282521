"""NAO-V2: its schedule, its pools, the resets between iterations, standalone training, and resuming from anywhere."""

from __future__ import annotations

import copy
import io
import random
from collections import Counter
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from supernet.engine import process_group
from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.nao.accuracy import accuracies
from supernet.methods.nao.config import NAOConfig, StandaloneConfig
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.methods.nao.controller_training import Report
from supernet.methods.nao.method import NAO
from supernet.methods.nao.pool import Pool
from supernet.models.cost.count import cost
from supernet.models.mixed_cell import MixedCell
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch, state_bytes

NB201 = EXAMPLE_SPACES[0]
SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
WEIGHTS = SGDConfig(lr=0.1, lr_min=0.01, momentum=0.8, weight_decay=0.01, clip=0.3)
QUICK = ControllerConfig(embedding=4, hidden=8, epochs=2, batch_size=8, top=3, expand=2, max_step=4)
PLAIN = StandaloneConfig(0.0, 0.0, 0.0)


def validation_batches():
    return [noise_batch(seed, 9) for seed in (50, 51)]


def make(home=NB201, epochs=8, seed=0, kind=NAO, **settings):
    torch.manual_seed(0)
    supernet = Supernet(home, SIZE, Norm(affine=False)).double()
    chosen = {
        "iterations": 2,
        "pool": 6,
        "new": 3,
        "final": 2,
        "final_epochs": 2,
        "controller": QUICK,
        "standalone": PLAIN,
    }
    return kind(
        NAOConfig(**chosen | settings), supernet, Budget(epochs, WEIGHTS, seed, validation_batches=validation_batches)
    )


def epoch(method, number, valid=0.5, steps=1):
    method.begin_epoch(number)
    for step in range(steps):
        method.step({"weights": noise_batch(10 * number + step)})
    return method.end_epoch(number, valid)


def as_second_of_two(monkeypatch, sent):
    """Let this process be the second of two, which gets what the first has `sent`, and has learned the same."""

    def broadcast(found, first, device):
        found[0] = copy.deepcopy(sent)

    def all_gather(found, value):
        found[:] = [value, value]

    monkeypatch.setattr(process_group, "_group", process_group._Group(1, 2))
    monkeypatch.setattr(dist, "broadcast_object_list", broadcast)
    monkeypatch.setattr(dist, "all_gather_object", all_gather)


def test_of_several_processes_the_first_trains_the_controller_for_all(monkeypatch):
    first, second = make(), make()
    for method in (first, second):
        method.pool.record([number / 10 for number in range(6)])
    row = first._begin_pool()
    report = Report(**{name: value for name, value in row["controller"].items() if name != "drawn_at_random"})
    as_second_of_two(monkeypatch, (report, first.controller.state_dict()))
    monkeypatch.setattr(second.controller, "fit", None)
    assert second._begin_pool() == row
    assert second.pool.trained == first.pool.trained
    assert state_bytes(second.state_dict()) == state_bytes(first.state_dict())


def test_processes_with_different_pools_end_with_an_error(monkeypatch):
    method = make()
    method.pool.record([number / 10 for number in range(6)])
    report = method.controller.fit([method.sequences.encode(method.pool.trained[0])], [0.5])
    as_second_of_two(monkeypatch, (report, method.controller.state_dict()))
    monkeypatch.setattr(dist, "all_gather_object", lambda found, value: found.extend([value, "other"]))
    with pytest.raises(UserError, match="the processes have learned different things"):
        method._begin_pool()


def test_the_probabilities_of_architectures_are_proportional_to_their_parameters():
    pool, rng = Pool(NB201, SIZE, "params"), random.Random(0)
    pool.begin(NB201.sample(rng) for _ in range(20))
    assert pool.weights() == [cost(NB201, g, SIZE).params for g in pool.trained]
    found, total = Counter(pool.draw(rng) for _ in range(8000)), sum(pool.weights())
    expected = Counter[object]()
    for genotype, weight in zip(pool.trained, pool.weights(), strict=True):
        expected[genotype] += 8000 * weight / total
    assert max(pool.weights()) > 2 * min(pool.weights())
    assert sum((found[g] - n) ** 2 / n for g, n in expected.items()) < 43.9  # chi square, 19 degrees, 0.1 %


def test_uniform_sampling_draws_all_equally_often():
    pool = Pool(NB201, SIZE, "uniform")
    pool.begin(NB201.sample(random.Random(n)) for n in range(5))
    found = Counter(pool.draw(random.Random(f"draw {n}")) for n in range(5000))
    assert sum((n - 1000) ** 2 / 1000 for n in found.values()) < 18.5  # 4 degrees


@pytest.mark.parametrize(
    ("epochs", "settings", "starts"),
    [
        (250, {"iterations": 4, "final": 5, "final_epochs": 10}, [0, 50, 100, 150, 200]),
        (40, {"iterations": 3, "final": 3, "final_epochs": 3}, [0, 10, 20, 31]),
        (5, {"iterations": 1, "final": 0}, [0, 5]),
    ],
)
def test_iterations_share_the_epochs(epochs, settings, starts):
    method = make(epochs=epochs, **settings)
    assert method.schedule.starts == starts
    places = [method.schedule.position(e) for e in range(starts[-1])]
    assert [number for number, _, _ in places] == sorted(number for number, _, _ in places)
    assert [own for _, own, _ in places] == [n for a, b in pairwise(starts) for n in range(b - a)]


def test_too_few_epochs_are_refused():
    with pytest.raises(UserError, match=r"epochs \(5\) must be at least 2 for the iterations and 2 x 2 for standalone"):
        make(epochs=5)


@pytest.mark.parametrize("reinit", ["all", "lr", "none"])
def test_a_new_iteration_resets_what_reinit_says(reinit):
    method, rates, weights = make(reinit=reinit, epochs=8), [], []
    for number in range(4):
        method.begin_epoch(number)
        rates.append(method.optimizer.param_groups[0]["lr"])
        weights.append([w.detach().clone() for w in method.weights])
        momentum = bool(method.optimizer.state)
        assert momentum == (number > 0 and not (reinit == "all" and number == 2))
        method.step({"weights": noise_batch(number)})
        last = [w.detach().clone() for w in method.weights]
        method.end_epoch(number, 0.5)
        if number == 1:
            trained = last
    again = [WEIGHTS.rate(e, 2) for e in (0, 1)]
    assert rates == pytest.approx([WEIGHTS.rate(e, 4) for e in range(4)] if reinit == "none" else again * 2)
    same = all(torch.equal(a, b) for a, b in zip(weights[2], trained, strict=True))
    assert same == (reinit != "all")
    if reinit == "all":
        learned = [a for a, b in zip(weights[2], weights[0], strict=True) if a.std() > 0 and torch.equal(a, b)]
        assert not learned  # new weights, not those of the first iteration


@pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)
@pytest.mark.usefixtures("still_noise")
def test_each_iteration_trains_new_architectures_and_evaluates_all_so_far(home):
    method = make(home)
    first = list(method.pool.trained)
    assert len(set(first)) == 6
    epoch(method, 0)
    assert method.pool.ranked == []
    row = epoch(method, 1)
    assert row["pool"]["evaluated"] == row["pool"]["trained"] == 6
    by_hand = accuracies(method.supernet, first, validation_batches)
    assert [a for a in method.pool.accuracies.values() if a is not None] == by_hand
    new = list(method.pool.trained)
    assert 0 < len(new) <= 3
    assert not set(new) & set(first)
    twins = {method.sequences.canonical(method.sequences.encode(g)) for g in [*first, *new]}
    assert len(twins) >= len(new) + len({method.sequences.canonical(method.sequences.encode(g)) for g in first})
    epoch(method, 2)
    assert method.path in new
    row = epoch(method, 3)
    assert (row["pool"]["evaluated"], row["pool"]["trained"]) == (6 + len(new), len(new))
    known = list(method.pool.accuracies)
    assert list(method.pool.accuracies.values()) == accuracies(method.supernet, known, validation_batches)
    best = sorted(known, key=lambda g: -method.pool.accuracies[g])[:2]
    assert method.standalone.architectures == best
    assert method.best == best[0]


def test_the_best_by_standalone_training_is_taken():
    method = make()
    for number in range(4):
        epoch(method, number, steps=0)
    few, state = method.standalone.architectures, state_bytes(method.state_dict())
    for valid in ((0.3, 0.6), (0.6, 0.3), (0.4, 0.4)):
        method.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        for number in range(4):
            row = epoch(method, 4 + number, valid[number // 2], steps=0)
        assert method.best == few[1 if valid[1] > valid[0] else 0]
        assert row["standalone"] == dict(zip(map(str, few), valid, strict=True))
        assert NB201.derive({k: v.tolist() for k, v in method.op_scores().items()}) == method.best


def test_standalone_training_steps_a_plain_network_and_leaves_the_supernet():
    method = make(standalone=StandaloneConfig(0.0, 0.0, 0.4))
    for number in range(4):
        epoch(method, number)
    shared = [w.detach().clone() for w in method.weights]
    method.begin_epoch(4)
    network = copy.deepcopy(method.standalone.network)
    assert isinstance(network, Network)
    assert network.genotype == method.standalone.architectures[0]
    optimizer, batch = WEIGHTS.optimizer(network.parameters()), noise_batch(3)
    metrics = method.step({"weights": batch})
    logits, extra = network.both(batch.x)
    own = F.cross_entropy(logits, batch.y)
    (own + 0.4 * F.cross_entropy(extra, batch.y)).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), WEIGHTS.clip)
    optimizer.step()
    assert metrics["loss"] == own.detach()
    for one, two in zip(method.standalone.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(shared, method.weights, strict=True))
    assert torch.equal(method.predict(batch.x), network.eval()(batch.x))
    method.end_epoch(4, 0.5)
    method.begin_epoch(5)
    assert method.standalone.optimizer.param_groups[0]["lr"] == pytest.approx(WEIGHTS.rate(1, 2))
    method.end_epoch(5, 0.5)
    method.begin_epoch(6)
    assert method.standalone.network.genotype == method.standalone.architectures[1]


class Smooth(NAO):
    def loss(self, logits, y):
        return F.cross_entropy(logits, y, label_smoothing=0.5)


def test_standalone_training_has_the_loss_of_a_method_of_ones_own():
    method = make(kind=Smooth, standalone=StandaloneConfig(0.0, 0.0, 0.4))
    method.standalone.architectures = [NB201.sample(random.Random(0))]
    method.begin_epoch(4)
    network, batch = copy.deepcopy(method.standalone.network), noise_batch(3)
    metrics = method.step({"weights": batch})
    own, extra = (method.loss(logits, batch.y) for logits in network.both(batch.x))
    assert metrics["loss"] == own.detach()
    (own + 0.4 * extra).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), WEIGHTS.clip)
    WEIGHTS.optimizer(network.parameters()).step()
    for one, two in zip(method.standalone.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-12)


def test_a_selector_trains_the_supernet_also_after_a_search_cut_within_standalone_training():
    method, batch = make(), noise_batch(3)
    for number in range(4):
        epoch(method, number)
    method.begin_epoch(4)
    method.step({"weights": batch})
    method.begin_tuning()
    method.set_rate(0.3)
    assert not method.optimizer.state
    assert method.optimizer.param_groups[0]["lr"] == 0.3
    before = [w.detach().clone() for w in method.weights]
    method.step({"weights": batch})
    assert any(not torch.equal(*pair) for pair in zip(before, method.weights, strict=True))
    method.supernet.eval()
    assert torch.equal(method.predict(batch.x), method.supernet(batch.x, method.mix()))


def test_paths_are_dropped_more_towards_the_end_and_in_deeper_cells():
    method = make(drop_path=0.3)
    cells = [layer for layer in method.supernet.layers if isinstance(layer, MixedCell)]
    method.begin_epoch(0)
    assert [cell.drop_path for cell in cells] == pytest.approx([0.075, 0.15])
    method.begin_epoch(1)
    assert [cell.drop_path for cell in cells] == pytest.approx([0.15, 0.3])


def test_paths_of_a_standalone_network_are_dropped_more_towards_the_end_of_its_training():
    method, found = make(epochs=9, final=1, final_epochs=3, standalone=StandaloneConfig(0.0, 0.3, 0.0)), []
    method.standalone.architectures = [NB201.sample(random.Random(0))]
    for number in (6, 7, 8):
        method.begin_epoch(number)
        found.append(method.standalone.network.drop_path)
    assert found == pytest.approx([0.1, 0.2, 0.3])


def test_dropout_is_before_the_classifier_and_in_training_only():
    torch.manual_seed(0)
    network, x = Network(NB201, NB201.sample(random.Random(1)), SIZE).double(), noise_batch(1).x
    network.eval()
    plain = network(x)
    network.dropout = 0.5
    assert torch.equal(network(x), plain)
    features = network.layers[-1][:-1](network.outputs(x)[-2])
    for module in network.modules():
        module.training = module is network  # batch norm stays in evaluation mode
    torch.manual_seed(7)
    dropped = network(x)
    torch.manual_seed(7)
    assert torch.equal(dropped, network.layers[-1][-1](F.dropout(features, 0.5)))
    assert not torch.equal(dropped, plain)


@pytest.mark.parametrize("evaluation", ["fixed", "batch"])
def test_images_of_the_evaluation(evaluation):
    method = make(evaluation=evaluation, eval_images=7)
    genotypes = list(method.pool.accuracies)
    epoch(method, 0)
    epoch(method, 1)
    found = [method.pool.accuracies[g] for g in genotypes]
    assert all(round(7 * accuracy, 6).is_integer() for accuracy in found)
    fixed = accuracies(method.supernet, genotypes, validation_batches, 7)
    assert (found == fixed) == (evaluation == "fixed")


CUTS = [(0, 1), (2, 0), (2, 1), (5, 1), (6, 0)]  # in an epoch, between two, in and between standalone trainings


@pytest.fixture(scope="module")
def uncut():
    """A whole search: the states of method and random numbers at every cut, and the method's last state."""
    method, states = make(standalone=StandaloneConfig(0.2, 0.2, 0.4)), {}
    for number in range(8):
        if (number, 0) in CUTS:
            states[number, 0] = state_bytes(method.state_dict()), torch.get_rng_state()
        method.begin_epoch(number)
        for step in range(2):
            if step and (number, step) in CUTS:
                states[number, step] = state_bytes(method.state_dict()), torch.get_rng_state()
            method.step({"weights": noise_batch(10 * number + step)})
        method.end_epoch(number, number / 10)
    return states, state_bytes(method.state_dict())


@pytest.mark.parametrize("cut", CUTS)
def test_it_resumes_from_anywhere(cut, uncut):
    states, last = uncut
    (state, drawn), again = states[cut], make(standalone=StandaloneConfig(0.2, 0.2, 0.4))
    again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
    assert state_bytes(again.state_dict()) == state
    torch.set_rng_state(drawn)
    for number in range(cut[0], 8):
        done = cut[1] if number == cut[0] else 0
        if done == 0:
            again.begin_epoch(number)
        for step in range(done, 2):
            again.step({"weights": noise_batch(10 * number + step)})
        again.end_epoch(number, number / 10)
    assert state_bytes(again.state_dict()) == last


def test_architectures_of_the_last_iteration_are_proposed_first():
    method = make()
    for number in range(4):
        epoch(method, number)
    found = method.proposals(20, random.Random(0))
    assert set(found[:3]) == set(method.pool.trained)
    assert set(found) == set(method.pool.accuracies)
    assert len(found) == len(set(found))
    assert method.proposals(2, random.Random(0)) == found[:2]


@pytest.mark.parametrize("settings", [{"drop_path": 1.0}, {"iterations": 0}, {"eval_images": 0}, {"final": -1}])
def test_invalid_settings_are_refused(settings):
    with pytest.raises(UserError, match="must be"):
        NAOConfig(**settings)


@pytest.mark.parametrize("settings", [{"dropout": 1.0}, {"auxiliary": -0.1}])
def test_invalid_settings_of_standalone_training_are_refused(settings):
    with pytest.raises(UserError, match="must be"):
        StandaloneConfig(**settings)


def test_a_space_without_new_architectures_is_searched_to_the_end():
    """The pool is the whole space, the controller finds nothing new, and the best few are more than there are."""
    home = SearchSpace.chain("one", [(("nor_conv_1x1", "skip_connect"), 1, 1)])
    method = make(home, epochs=5, pool=6, new=1, final=3, final_epochs=1)
    assert len(method.pool.trained) == 2
    epoch(method, 0)
    assert method.pool.trained == method.pool.ranked[:1]
    epoch(method, 1)
    first, second = method.pool.ranked
    assert method.standalone.architectures == [first, second, first]
    for number, valid in enumerate((0.1, 0.3, 0.2), 2):
        epoch(method, number, valid)
    assert method.best == second


def test_a_forecast_times_the_last_epoch_of_a_supernet():
    method = make(epochs=8)
    method.begin_epoch(method.forecast_epochs[0])
    assert method.forecast_epochs == (3,)
    assert method.standalone.network is None
