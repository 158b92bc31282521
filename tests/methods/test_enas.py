"""ENAS: the controller's probabilities against counts, its update written out, and its learning."""

from __future__ import annotations

import copy
import math
import random
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.methods import enas as module
from supernet.methods.base import Budget
from supernet.methods.enas import ENAS, ENASConfig
from supernet.methods.enas_policy import ControllerPolicy
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.models.cost.options import negative
from supernet.models.cost.targets import Targets
from supernet.models.evaluate import Scores
from supernet.models.supernet import Supernet
from supernet.selectors.magnitude import strongest
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, space
from supernet.spaces.modules import Norm
from supernet.spaces.tokens import Sequences
from supernet.testing import EXAMPLE_SPACES, NormalReduceNormal, noise_batch

NB201, SIZE = EXAMPLE_SPACES[0], NetworkSize(2, 1, (8, 8), 1, 3)
each_space = pytest.mark.parametrize("home", [*EXAMPLE_SPACES, space("nao")], ids=lambda home: home.name)


def make(config=None, home=NB201, seed=0, targets=None):
    torch.manual_seed(0)
    supernet = Supernet(home, SIZE, Norm(affine=False)).double()
    batches = [noise_batch(5), noise_batch(6)]
    budget = Budget(3, SGDConfig(), seed, targets=targets, validation_batches=lambda: batches)
    return ENAS(config or ENASConfig(updates=2, samples=4), supernet, budget)


def policy_of(home, seed=0):
    torch.manual_seed(seed)
    return ControllerPolicy(Sequences(home))


@each_space
def test_draws_are_architectures_with_valid_probabilities(home):
    policy, generator = policy_of(home).double(), torch.Generator().manual_seed(1)
    drawn = policy.draw(30, generator)
    for tokens in drawn.tokens:
        home.check(policy.sequences.decode(tokens))
    assert (drawn.log_probability <= 0).all()
    assert (drawn.entropy >= 0).all()
    again = policy.draw(30, torch.Generator().manual_seed(1))
    assert again.tokens == drawn.tokens


def test_weights_begin_uniform_between_plus_and_minus_a_tenth():
    for name, parameter in policy_of(NB201).named_parameters():
        if "bias" not in name:
            assert 0.09 < parameter.abs().max() <= 0.1, name
            assert abs(parameter.mean()) < 0.03, name


def test_the_frequencies_of_draws_are_their_probabilities():
    policy = policy_of(NB201, seed=3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter *= 8  # away from uniform
        drawn = policy.draw(10_000, torch.Generator().manual_seed(0))
    seen = Counter(drawn.tokens)
    p = {tokens: math.exp(value) for tokens, value in zip(drawn.tokens, drawn.log_probability.tolist(), strict=True)}
    assert len(p) > 100
    for tokens, count in seen.most_common(10):
        assert abs(count / 10_000 - p[tokens]) < 4.5 * math.sqrt(p[tokens] / 10_000)
    entropy = -sum(math.log(p[tokens]) for tokens in drawn.tokens) / 10_000  # of the whole: the chain's sum
    assert float(drawn.entropy.mean()) == pytest.approx(entropy, rel=0.02)


def test_the_probability_of_an_architecture_does_not_depend_on_the_others_of_its_draw():
    """Behind one input of the first node there is one candidate, and so no decision, behind the other there are two."""
    two = ("nor_conv_3x3", "avg_pool_3x3")
    edges = Edge(2, 0, two[:1]), Edge(2, 1, two), Edge(3, 0, two), Edge(3, 2, two)
    cell = Cell(edges, inputs=2, output="concat", keep=1, project=True)
    policy = policy_of(SearchSpace("uneven", {"normal": cell, "reduce": cell}, NormalReduceNormal())).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter *= 8  # away from uniform
        alone = [policy.draw(1, generator) for _ in range(200)]
        many = policy.draw(200, generator)
    together = dict(zip(many.tokens, many.log_probability.tolist(), strict=True))
    pairs = [(float(one.log_probability), together[one.tokens[0]]) for one in alone if one.tokens[0] in together]
    assert {one.tokens[0][0] for one in alone} == {1, 2}
    assert len(pairs) > 100
    assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], rel=1e-9)


def test_logits_are_bounded_by_the_tanh():
    policy = policy_of(NB201)
    with torch.no_grad():
        policy.linear.bias[:] = torch.tensor([0.0, 0, 0, 0, 1e6, -1e6, 0, 0, 0])
        drawn = policy.draw(4000, torch.Generator().manual_seed(0))
    first = Counter(tokens[1] for tokens in drawn.tokens)
    top, low = math.exp(2.5), math.exp(-2.5)
    assert first[4] / 4000 == pytest.approx(top / (top + low + 3), abs=0.03)


def fake(monkeypatch, accuracy):
    """Replace the scorer by a function from a mix to an accuracy."""

    class Fake:
        def __init__(self, supernet, validation_batches, norm):
            self.supernet, self.batches, self.norm = supernet, list(validation_batches()), norm

        def __call__(self, mixes):
            assert len(self.batches) == 1
            values = [accuracy(mix) for mix in mixes]
            return Scores(values, values)

    monkeypatch.setattr(module, "Scorer", Fake)


@pytest.mark.parametrize("clip", [0.05, 0.0])  # unclipped, the size of the gradient tells one baseline from another
def test_an_update_is_reinforce_with_a_moving_baseline(clip, monkeypatch):
    fake(monkeypatch, lambda mix: float(mix["cell"].weights[0, 3]))
    method = make(ENASConfig(samples=5, clip=clip, entropy_weight=0.3, decay=0.75))
    other, adam = copy.deepcopy(method.policy), method.controller.defaults
    draws, baseline = method.generator.get_state(), 0.0
    found = method.update(noise_batch(5))
    generator = torch.Generator()
    generator.set_state(draws)
    drawn, loss = other.draw(5, generator), 0.0
    for n, tokens in enumerate(drawn.tokens):
        reward = float(method.sequences.decode(tokens)["cell"][0].op == "nor_conv_3x3")
        assert found[n] == reward
        reward += 0.3 * drawn.entropy[n].item()
        baseline = 0.75 * baseline + 0.25 * reward
        loss = loss - drawn.log_probability[n] * (reward - baseline) / 5
    loss.backward()
    torch.nn.utils.clip_grad_norm_(other.parameters(), clip or math.inf)
    assert (adam["betas"], adam["eps"], adam["lr"]) == ((0.0, 0.999), 1e-3, 1e-3)
    torch.optim.Adam(other.parameters(), 1e-3, (0.0, 0.999), 1e-3).step()
    assert method.baseline == pytest.approx(baseline)
    for one, two in zip(method.policy.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-7)


def test_updates_use_drawn_batches_and_only_these_are_held(monkeypatch):
    made, used = list[weakref.ref[torch.Tensor]](), []

    def batches():
        made.clear()
        for number in range(20):
            batch = noise_batch(number)
            made.append(weakref.ref(batch.x))
            yield batch

    def update(batch):
        used.append((batch.x, sum(x() is not None for x in made)))
        return [0.0]

    method = make(ENASConfig(updates=3))
    method.budget = replace(method.budget, validation_batches=batches)
    monkeypatch.setattr(method, "update", update)
    for epoch in range(2):
        every = [noise_batch(number).x for number in range(20)]
        drawn = [random.Random(f"0 update {epoch} {number}").choice(every) for number in range(3)]
        used.clear()
        method.end_epoch(epoch, 0.5)
        assert all(torch.equal(x, wanted) for (x, _), wanted in zip(used, drawn, strict=True))
        assert max(held for _, held in used) <= 3


def test_the_controller_learns_to_draw_what_is_rewarded(monkeypatch):
    fake(monkeypatch, lambda mix: float(mix["cell"].weights[:, 3].mean()))
    method = make(ENASConfig(updates=40, samples=10, controller_lr=0.02))
    before = method.op_scores()["cell"][:, 3].mean()
    row = method.end_epoch(0, 0.5)
    assert before < 0.4
    assert method.op_scores()["cell"][:, 3].mean() > 0.8
    assert row["passes"] == {"forward_backward": 0, "forward": 400}


def test_a_space_of_one_architecture_leaves_the_controller_as_it_is():
    method = make(home=SearchSpace.chain("one", [(("nor_conv_1x1",), 1, 1)]))
    policy = [p.detach().clone() for p in method.policy.parameters()]
    row = method.end_epoch(0, 0.5)
    assert row["baseline"] > 0
    assert all(torch.equal(a, b) for a, b in zip(policy, method.policy.parameters(), strict=True))


@pytest.mark.slow
def test_a_controller_comes_down_to_its_target_and_no_further(monkeypatch):
    """What costs most is the most accurate."""
    feasible = FeasibleSet(NB201, SIZE)
    price, costs = Expected(feasible, "params"), OperationCosts(NB201, SIZE).per_operation("params")
    least, most = (price.of(NB201.derive(some)) for some in (negative(costs), costs))
    target, found = int((least + most) / 2), list[float]()
    fake(monkeypatch, lambda mix: float(price.alone({"cell": mix["cell"].weights})) / most)
    targets = Targets(feasible, Limits(max_params=target), 8)
    method = make(ENASConfig(updates=25, samples=10, controller_lr=0.02), targets=targets)
    for epoch in range(8):
        method.end_epoch(epoch, 0.5)
        found.append(targets.follow(method.op_scores(), strongest(method, feasible))["params"]["network"])
    assert max(found) > target  # before the multiplier has risen
    assert least < found[-1] <= target
    within = [price.of(genotype) <= target for genotype in method.proposals(100, random.Random(0))]
    assert sum(within) > 60


def test_steps_train_the_weights_alone_and_the_end_of_an_epoch_the_controller_alone():
    method = make()
    weights, policy = ([p.detach().clone() for p in part] for part in (method.weights, method.policy.parameters()))
    method.step({"weights": noise_batch(1)})
    assert all(torch.equal(a, b) for a, b in zip(policy, method.policy.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights, method.weights, strict=True))
    weights = [p.detach().clone() for p in method.weights]
    method.end_epoch(0, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(weights, method.weights, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(policy, method.policy.parameters(), strict=True))


def test_proposals_and_the_paths_of_steps_are_draws_of_the_controller():
    method = make()
    with torch.no_grad():
        method.policy.linear.bias[:] = torch.tensor([0.0, 0, 0, 0, -1e6, -1e6, -1e6, 1e6, -1e6])  # nor_conv_3x3
    ops = Counter(choice.op for g in method.proposals(50, random.Random(0)) for choice in g["cell"])
    assert ops["nor_conv_3x3"] > 0.9 * 300
    assert method.proposals(5, random.Random(0)) == method.proposals(5, random.Random(0))
    method.begin_epoch(0)
    paths = Counter[str]()
    for _ in range(10):
        method.step({"weights": noise_batch(3)})
        paths.update(choice.op for choice in method.path["cell"])
    assert paths["nor_conv_3x3"] > 0.9 * 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "decay must be below 1"),
        ({"updates": 0}, "updates must be at least 1"),
        ({"clip": -1.0}, "clip must be at least 0"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ENASConfig(**settings)
