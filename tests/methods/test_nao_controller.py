"""NAO's controller: its size, its training on a small pool, and steps that lead to better architectures."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from supernet.errors import UserError
from supernet.methods.nao.controller import Controller
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.methods.nao.controller_training import _epochs, _step, normalised, train
from supernet.methods.nao.model import EncoderPredictorDecoder, embedding_of
from supernet.settings import amend
from supernet.spaces import Cell, SearchSpace, Stages, space
from supernet.spaces.tokens import Sequences

NAO, NB201, DARTS = (Sequences(space(name)) for name in ("nao", "nasbench201", "darts"))
V1 = ControllerConfig(embedding=48, hidden=96, predictor_layers=3, weight_decay=1e-4, expand=None)
TOY = ControllerConfig(embedding=8, hidden=16, epochs=250, lr=1e-2, held_out=0, expand=1)
QUICK = replace(TOY, epochs=3, max_step=5)


def pool_of(sequences, count, seed=0):
    rng = random.Random(seed)
    return [sequences.encode(sequences.space.sample(rng)) for _ in range(count)]


def worth(tokens):
    """A toy accuracy (%) that counts the 3x3 convolutions on the six edges."""
    return 50 + 8 * sum(token == NB201.ops["nor_conv_3x3"] for token in tokens[1::2])


@cache
def learned():
    """A controller trained on forty architectures of NAS-Bench-201 with toy accuracies, its pool and its report."""
    pool = sorted(set(pool_of(NB201, 40)), key=worth, reverse=True)
    controller = Controller(NB201, TOY, seed=0)
    return controller, pool, controller.fit(pool, [worth(tokens) for tokens in pool])


@pytest.mark.parametrize(("settings", "count"), [(ControllerConfig(), 80_845), (V1, 279_533)], ids=["V2", "V1"])
def test_the_sizes_are_those_of_the_released_controllers(settings, count):
    model = EncoderPredictorDecoder(NAO.vocabulary, settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_forward_pass_is_that_of_the_formulas():
    """The forward pass against the equations, written with single LSTM steps in float64."""
    torch.manual_seed(0)
    model = EncoderPredictorDecoder(NAO.vocabulary, ControllerConfig(embedding=5, hidden=7)).double()
    x = torch.tensor(pool_of(NAO, 3))
    states = model.encode(x)
    cells = [torch.nn.LSTMCell(lstm.input_size, 7).double() for lstm in (model.encoder, model.decoder)]
    for cell, lstm in zip(cells, (model.encoder, model.decoder), strict=True):
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
    h = c = torch.zeros(3, 7, dtype=torch.float64)
    for t in range(20):
        h, c = cells[0](torch.cat([model.embedding(x[:, 2 * t]), model.embedding(x[:, 2 * t + 1])], 1), (h, c))
        torch.testing.assert_close(states[:, t], h / h.norm(dim=1, keepdim=True))
    mean = states.mean(1)
    embedding = mean / mean.norm(dim=1, keepdim=True)
    linear = model.predictor[0]
    torch.testing.assert_close(model.predict(states), torch.sigmoid(embedding @ linear.weight[0] + linear.bias))
    logits, h, c = model.reconstruct(states, x), embedding, embedding
    for t in range(40):
        h, c = cells[1](model.decoder_embedding(x[:, t - 1] if t else torch.zeros(3, dtype=torch.long)), (h, c))
        attention = torch.einsum("nd,njd->nj", h @ model.query.weight.T, states).softmax(1)
        mixed = torch.einsum("nj,njd->nd", attention, states)
        out = torch.tanh(torch.cat([mixed, h], 1) @ model.attended.weight.T)
        torch.testing.assert_close(logits[:, t], model.logits(out))


@pytest.mark.parametrize("sequences", [NAO, NB201, DARTS], ids=lambda s: s.space.name)
def test_an_untrained_decoder_writes_valid_architectures(sequences):
    controller = Controller(sequences, ControllerConfig(), seed=1)
    for tokens in controller.reconstruct(pool_of(sequences, 30)):
        sequences.check(tokens)
    states = F.normalize(torch.randn(50, 3, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    for tokens in controller.model.decode(states, sequences):
        sequences.space.check(sequences.decode(tokens))


def test_decoding_takes_the_most_probable_allowed_token():
    """Greedy decoding of one architecture at a time, with the prefix fed to `reconstruct`."""
    model = Controller(DARTS, ControllerConfig(), seed=2).model
    with torch.no_grad():
        states = model.encode(torch.tensor(pool_of(DARTS, 4)))
        for row, found in enumerate(model.decode(states, DARTS)):
            written = []
            for _ in range(DARTS.length):
                padded = torch.tensor([written + [0] * (DARTS.length - len(written))])
                logits = model.reconstruct(states[row : row + 1], padded)[0, len(written)]
                written.append(max(DARTS.allowed(written), key=lambda token: float(logits[token])))
            assert tuple(written) == found


@pytest.mark.slow
def test_a_small_pool_is_learned_by_heart():
    controller, pool, report = learned()
    assert (report.trained, report.held_out, report.pairwise, report.hamming) == (len(pool), 0, None, None)
    assert report.loss == pytest.approx(0.8 * report.mse + 0.2 * report.nll, rel=1e-5)
    assert controller.reconstruct(pool) == pool
    targets = normalised([worth(tokens) for tokens in pool])
    assert float((controller.predict(pool) - targets).abs().max()) < 0.1  # they are a third apart


def test_a_step_along_the_gradient_raises_the_prediction():
    controller, pool, _ = learned()
    middle = [tokens for tokens in pool if 60 < worth(tokens) < 80]
    states = controller.model.encode(torch.tensor(middle)).detach().requires_grad_()
    before = controller.model.predict(states)
    (slopes,) = torch.autograd.grad(before.sum(), states)
    moved = controller.model.predict(F.normalize(states + slopes, dim=-1))
    assert bool((moved > before).all())
    torch.testing.assert_close(embedding_of(states).norm(dim=1), torch.ones(len(middle)))


def test_all_states_have_length_1_after_a_step_of_any_size(monkeypatch):
    controller, moved = Controller(NB201, QUICK, seed=0), []
    monkeypatch.setattr(controller.model, "decode", lambda states, sequences: moved.append(states) or [])
    list(controller.improved(pool_of(NB201, 3)))
    assert len(moved) == QUICK.max_step
    for states in moved:
        torch.testing.assert_close(states.norm(dim=-1), torch.ones(states.shape[:2]))
    assert not torch.allclose(moved[0], moved[-1])


def test_generated_architectures_are_new_and_better_than_their_origins():
    controller, pool, _ = learned()
    start = [tokens for tokens in pool if worth(tokens) <= 66]
    found = controller.generate(start, pool, 20)
    assert len(set(found.tokens)) == 20 == len(found.tokens)
    assert not set(found.tokens) & set(pool)
    led = found.tokens[: 20 - found.drawn_at_random]
    assert len(led) >= 10
    assert 1 <= found.step <= 50
    before, after = (sum(map(worth, some)) / len(some) for some in (start, led))
    assert after > before + 4  # half a convolution


def test_an_equivalent_of_an_excluded_architecture_is_not_new():
    controller = Controller(NAO, QUICK, seed=0)
    pool = pool_of(NAO, 12)
    controller.fit(pool, range(12))
    known = {NAO.canonical(tokens) for tokens in pool}
    found = controller.generate(pool, known, 30)
    forms = {NAO.canonical(tokens) for tokens in found.tokens}
    assert len(forms) == 30
    assert not forms & known


def test_only_accepted_architectures_are_generated():
    controller, pool, _ = learned()
    found = controller.generate(pool, pool, 15, lambda genotype: genotype["cell"][0].op == "none")
    assert len(found.tokens) == 15
    assert all(NB201.decode(tokens)["cell"][0].op == "none" for tokens in found.tokens)
    few_steps = Controller(NB201, replace(TOY, max_step=2), seed=0)
    few_steps.load_state_dict(controller.state_dict())
    refused = few_steps.generate(pool, pool, 1, lambda genotype: False)
    assert (refused.tokens, refused.drawn_at_random) == ((), 0)


def test_rare_architectures_are_drawn_as_one_is_told():
    controller, pool, _ = learned()
    rare = {NB201.space.sample(random.Random(seed)) for seed in range(100, 110)}
    found = controller.generate(pool, pool, 10, rare.__contains__, lambda rng: rng.choice(sorted(rare, key=str)))
    assert {NB201.decode(tokens) for tokens in found.tokens} == {g for g in rare if NB201.encode(g) not in pool}


def test_a_small_space_gives_all_that_it_has():
    home = SearchSpace("two", {"cell": Cell.dense(2, ("skip_connect", "none"))}, Stages(("cell",)))
    sequences = Sequences(home)
    found = Controller(sequences, QUICK, seed=0).generate((), (), 5)
    assert sorted(found.tokens) == [(1, 2), (1, 3)]
    assert (found.drawn_at_random, found.step) == (2, 0)


def test_draws_end_soon_after_every_architecture_is_known():
    home = SearchSpace("two", {"cell": Cell.dense(2, ("skip_connect", "none"))}, Stages(("cell",)))
    drawn = Counter()

    def sample(rng):
        drawn["all"] += 1
        return home.sample(rng)

    found = Controller(Sequences(home), QUICK, seed=0).generate((), (), 300, sample=sample)
    assert len(found.tokens) == 2
    assert drawn["all"] < 1100


def test_accuracies_are_scaled_from_the_worst_to_the_best():
    assert normalised([60.0, 80.0, 70.0]).tolist() == [0.0, 1.0, 0.5]
    assert normalised([93.0, 93.0]).tolist() == [0.5, 0.5]  # no division by zero
    report = Controller(NB201, QUICK, seed=0).fit(pool_of(NB201, 4), [90.0] * 4)
    assert report.loss == report.loss  # not NaN


def test_the_report_is_a_mean_over_architectures_whatever_the_size_of_a_batch():
    rows = [(tokens, float(number)) for number, tokens in enumerate(pool_of(NB201, 5))]
    reports = []
    for size in (4, 5):  # of four and one, and of all five
        controller = Controller(NB201, replace(QUICK, epochs=1, lr=0.0, batch_size=size), seed=0)
        reports.append(train(controller.model, NB201, controller.config, rows, random.Random(0)))
    for name in ("loss", "mse", "nll"):
        assert getattr(reports[0], name) == pytest.approx(getattr(reports[1], name), rel=1e-5)


def test_each_copy_is_the_original_with_one_node_of_each_cell_swapped():
    pool = [(*((1, 7, 2, 8) * 10),), (*((2, 9, 1, 10) * 10),)]  # the pairs of every node differ
    settings = replace(QUICK, expand=10, batch_size=7, epochs=2)
    for batches in _epochs(pool, torch.tensor([0.0, 1.0]), NAO, settings, random.Random(0)):
        assert [len(y) for _, y in batches] == [7, 7, 6]
        rows = [(tuple(row.tolist()), float(target)) for x, y in batches for row, target in zip(x, y, strict=True)]
        for number, original in enumerate(pool):
            own = [row for row, target in rows if target == number]
            different = [sum(a != b for a, b in zip(row, original, strict=True)) for row in own]
            assert sorted(different) == [0] + [8] * 9  # two nodes of four tokens


def test_without_copies_every_epoch_draws_new_notations():
    pool = pool_of(NAO, 6)
    seen = set()
    for ((x, _),) in _epochs(pool, torch.arange(6.0), NAO, replace(QUICK, expand=None, epochs=4), random.Random(0)):
        rows = [tuple(row.tolist()) for row in x]
        assert {NAO.canonical(row) for row in rows} == {NAO.canonical(tokens) for tokens in pool}
        seen |= set(rows)
    assert len(seen) > 12


def test_a_space_without_equivalent_notations_has_no_copies():
    pool = pool_of(NB201, 6)
    ((x, y),) = next(iter(_epochs(pool, torch.arange(6.0), NB201, replace(QUICK, expand=10), random.Random(0))))
    assert sorted(map(tuple, x.tolist())) == sorted(pool)
    assert sorted(y.tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_tenth_is_held_out_and_reported_on():
    """The numbers of the report, computed from the predictions and reconstructions of the architectures held out."""
    pool = pool_of(NB201, 30, seed=3)
    accuracies = {tokens: worth(tokens) + 0.001 * number for number, tokens in enumerate(pool)}
    controller = Controller(NB201, replace(QUICK, held_out=0.2), seed=5)
    report = controller.fit(list(accuracies), list(accuracies.values()))
    rng = random.Random("5 training 0")
    rng.getrandbits(62)  # the seed of dropout
    held = rng.sample(list(accuracies), len(accuracies))[: report.held_out]
    assert (report.held_out, report.trained) == (len(accuracies) // 5, len(accuracies) - len(accuracies) // 5)
    guess = dict(zip(held, controller.predict(held).tolist(), strict=True))
    pairs = [(a, b) for a in held for b in held if accuracies[a] > accuracies[b]]
    assert report.pairwise == pytest.approx(sum(guess[a] > guess[b] for a, b in pairs) / len(pairs))
    wrong = [
        a != b
        for one, two in zip(held, controller.reconstruct(held), strict=True)
        for a, b in zip(one, two, strict=True)
    ]
    assert report.hamming == pytest.approx(sum(wrong) / len(wrong))


def test_the_seed_decides_all_and_the_global_random_state_stays():
    pool = pool_of(NAO, 10)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    settings = replace(V1, epochs=2, hidden=16, embedding=8)
    results = []
    for seed in (0, 0, 1):
        controller = Controller(NAO, settings, seed)
        results.append((controller.fit(pool, range(10)), controller.generate(pool, (), 5).tokens))
    assert torch.equal(torch.get_rng_state(), before)
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("start", ["fresh", "continue"])
def test_it_resumes_from_its_state(start):
    pool, settings = pool_of(NAO, 10), replace(QUICK, start=start, expand=None)
    whole_way = Controller(NAO, settings, seed=0)
    whole_way.fit(pool[:6], range(6))
    resumed = Controller(NAO, settings, seed=0)
    resumed.load_state_dict(whole_way.state_dict())
    assert resumed.generate(pool, (), 5) == whole_way.generate(pool, (), 5)
    assert resumed.fit(pool, range(10)) == whole_way.fit(pool, range(10))
    torch.testing.assert_close(resumed.predict(pool), whole_way.predict(pool), rtol=0, atol=0)


def test_a_fresh_start_forgets_and_a_continued_one_does_not():
    pool = pool_of(NB201, 8)
    losses = {}
    for start in ("fresh", "continue"):
        controller = Controller(NB201, replace(TOY, epochs=25, start=start), seed=0)
        losses[start] = [controller.fit(pool, range(8)).loss for _ in range(2)]
    assert losses["continue"][1] < 0.5 * losses["continue"][0]
    assert losses["fresh"][1] > 0.5 * losses["fresh"][0]


def test_the_trade_off_and_the_clip_are_of_the_loss_and_its_gradient():
    pool = pool_of(NB201, 5)
    for share, trained, still in ((1.0, "predictor", "logits"), (0.0, "logits", "predictor")):
        controller = Controller(NB201, replace(QUICK, trade_off=share), seed=0)
        before = {name: value.clone() for name, value in controller.model.state_dict().items()}
        rows = [(tokens, float(number)) for number, tokens in enumerate(pool)]
        train(controller.model, NB201, controller.config, rows, random.Random(0))
        changed = {
            name.split(".")[0] for name, value in controller.model.state_dict().items() if not value.equal(before[name])
        }
        assert trained in changed
        assert still not in changed
    x, y, gradients = torch.tensor(pool), torch.linspace(0, 1, 5), []
    for clip in (0.0, 0.01):
        controller = Controller(NB201, replace(QUICK, clip=clip), seed=0)
        parameters = list(controller.model.parameters())
        _step(controller.model, torch.optim.SGD(parameters, 0.0), x, y, controller.config)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in parameters]))
    whole, clipped = gradients
    assert whole.norm() > 0.02
    torch.testing.assert_close(clipped, 0.01 * whole / whole.norm(), rtol=1e-4, atol=1e-8)


def test_a_clip_of_0_does_not_clip():
    rows = [(tokens, float(number)) for number, tokens in enumerate(pool_of(NB201, 5))]
    found = []
    for clip in (0.0, 1e9):
        controller = Controller(NB201, replace(QUICK, clip=clip), seed=0)
        found.append(train(controller.model, NB201, controller.config, rows, random.Random(0)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "setting controller.epochs must be at least 1, not 0"),
        ({"expand": 0}, "setting controller.expand must be at least 1, not 0"),
        ({"held_out": 1.0}, "setting controller.held_out must be below 1, not 1.0"),
        ({"trade_off": 1.5}, "setting controller.trade_off must be at most 1, not 1.5"),
        ({"start": "warm"}, "setting controller.start"),
    ],
)
def test_invalid_settings(changes, message):
    with pytest.raises(UserError, match=message):
        amend(ControllerConfig(), changes)


def test_training_needs_an_architecture():
    with pytest.raises(UserError, match="at least one architecture"):
        Controller(NB201, QUICK, seed=0).fit([], [])
