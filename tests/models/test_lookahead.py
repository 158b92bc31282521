"""Lookahead against SGD written out on a copy, in one process and in several; and what they must leave alone."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import SGDConfig, set_rate
from supernet.errors import UserError
from supernet.models import lookahead as module
from supernet.models.fixed_edges import FixedEdges
from supernet.models.lookahead import Lookahead
from supernet.models.mix import dense
from supernet.models.supernet import Supernet, traceless
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm
from supernet.spaces.operations import Primitive
from supernet.testing import macro_space, noise_batch, ragged_space, two_input_space

NB201, RAGGED, TWO, MACRO = space("nasbench201"), ragged_space(), two_input_space(), macro_space()
STRONG = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)  # clips in every step
RATE = 0.07  # what the schedule has come to
each_space = pytest.mark.parametrize("home", [NB201, RAGGED, TWO, MACRO], ids=lambda home: home.name)


def supernet_of(home, width=2):
    torch.manual_seed(0)
    return Supernet(home, NetworkSize(width, 1, (8, 8), 1, 3), Norm(affine=False)).double()


def mix_of(home, seed):
    g = torch.Generator().manual_seed(seed)
    cells = home.cells.items()
    return dense({k: torch.rand(len(c.edges), c.columns, generator=g, dtype=torch.float64) for k, c in cells})


def trained(supernet, weights=STRONG):
    """An optimizer that has some momentum, and the rate of a later epoch."""
    optimizer = weights.optimizer(supernet.parameters())
    batch = noise_batch(7)
    F.cross_entropy(supernet(batch.x, mix_of(supernet.space, 7)), batch.y).backward()
    optimizer.step()
    set_rate(optimizer, RATE)
    return optimizer


def by_hand(supernet, optimizer, mix, inner, valid, *, copied):
    """The loss after steps written out, on a copy."""
    begun = optimizer.state if copied else {}
    buffers = [begun[w]["momentum_buffer"] if w in begun else 0 for w in supernet.parameters()]
    supernet = copy.deepcopy(supernet)
    weights = list(supernet.parameters())
    for batch in inner:
        loss = F.cross_entropy(supernet(batch.x, mix), batch.y)
        gradient = torch.autograd.grad(loss, weights, allow_unused=True)
        norm = sum(part.square().sum() for part in gradient if part is not None).sqrt()
        assert norm > STRONG.clip
        with torch.no_grad():
            for number, (w, g) in enumerate(zip(weights, gradient, strict=True)):
                if g is not None:
                    g = g * STRONG.clip / (norm + 1e-6) + STRONG.weight_decay * w
                    buffers[number] = STRONG.momentum * buffers[number] + g
                    w -= RATE * buffers[number]
    return F.cross_entropy(supernet(valid.x, mix), valid.y).item()


@each_space
@pytest.mark.usefixtures("still_noise")
def test_lookahead_is_steps_of_sgd_on_a_copy(home):
    supernet = supernet_of(home)
    optimizer, lookahead = trained(supernet), Lookahead(supernet, STRONG)
    mixes, inner, valid = [mix_of(home, n) for n in (1, 2)], [noise_batch(n) for n in (10, 11)], noise_batch(20)
    fresh, copied = (
        lookahead.losses(optimizer, mixes, inner, valid, seed=0, momentum=momentum).tolist()
        for momentum in ("fresh", "copied")
    )
    for number, mix in enumerate(mixes):
        by_hands = [by_hand(supernet, optimizer, mix, inner, valid, copied=way) for way in (False, True)]
        assert [fresh[number], copied[number]] == pytest.approx(by_hands, rel=1e-9)
        assert fresh[number] != pytest.approx(copied[number], rel=1e-6)


def test_the_loss_falls_on_what_is_stepped_on():
    supernet = supernet_of(NB201, width=4)
    optimizer, batch = STRONG.optimizer(supernet.parameters()), noise_batch(1)
    lookahead = Lookahead(supernet, STRONG)
    before, *after = (
        lookahead.losses(optimizer, [mix_of(NB201, 1)], [batch] * m, batch, seed=0).item() for m in (0, 3, 12)
    )
    assert after[1] < after[0] < before
    assert after[1] < 0.7 * before


@pytest.mark.parametrize("home", [NB201, RAGGED, MACRO], ids=lambda home: home.name)
def test_without_steps_all_mixes_are_run_together_once(home, monkeypatch):
    supernet, valid = supernet_of(home), noise_batch(20)
    mixes, calls, many = [mix_of(home, n) for n in range(5)], [], Supernet.batched
    monkeypatch.setattr(Supernet, "batched", lambda self, *given: calls.append(1) or many(self, *given))
    found = Lookahead(supernet, STRONG, workers=3).losses(
        STRONG.optimizer(supernet.parameters()), mixes, [], valid, seed=0
    )
    alone = [F.cross_entropy(traceless(supernet, valid.x, mix), valid.y).item() for mix in mixes]
    assert found.tolist() == pytest.approx(alone, rel=1e-9)
    assert calls == [1]


@pytest.mark.parametrize(("device", "numbers"), [("cuda", [0, 1, 0]), ("cuda:1", [1, 1, 1])])
def test_workers_stay_on_the_gpu_that_was_named(device, numbers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(module, "WorkerPool", lambda make, devices: [each.index for each in devices])
    assert Lookahead(supernet_of(NB201), STRONG, workers=3, device=torch.device(device))._pool == numbers


@pytest.mark.parametrize("inner", [[], [noise_batch(1)]], ids=["no step", "a step"])
def test_scores_are_of_all_validation_images(inner):
    supernet = supernet_of(RAGGED)
    mixes, batches = [mix_of(RAGGED, n) for n in (1, 2, 3)], [noise_batch(20, 5), noise_batch(21, 3)]
    optimizer, lookahead = STRONG.optimizer(supernet.parameters()), Lookahead(supernet, STRONG)
    found = lookahead.scores(optimizer, mixes, inner, batches, seed=0)
    first, second = (lookahead.losses(optimizer, mixes, inner, batch, seed=0) for batch in batches)
    assert found.loss == pytest.approx(((5 * first + 3 * second) / 8).tolist(), rel=1e-9)
    for mix, accuracy in zip(mixes, found.accuracy, strict=True):
        stepped = copy.deepcopy(supernet)
        own = STRONG.optimizer(stepped.parameters())
        for batch in inner:
            F.cross_entropy(stepped(batch.x, mix), batch.y).backward()
            torch.nn.utils.clip_grad_norm_(list(stepped.parameters()), STRONG.clip)
            own.step()
        hits = [(stepped(batch.x, mix).argmax(1) == batch.y).sum().item() for batch in batches]
        assert accuracy == sum(hits) / 8
    assert len(set(found.accuracy)) > 1


def everything(supernet, optimizer):
    """All that lookahead must leave as it is, as lists of bits."""
    state = supernet.state_dict() | {
        f"momentum {n}": s["momentum_buffer"] for n, s in optimizer.state_dict()["state"].items()
    }
    state |= {f"gradient {name}": w.grad for name, w in supernet.named_parameters() if w.grad is not None}
    return {name: value.tolist() for name, value in state.items()} | {"random": torch.get_rng_state().tolist()}


@pytest.mark.parametrize("home", [RAGGED, TWO], ids=lambda home: home.name)
def test_lookahead_leaves_no_trace(home):
    supernet = supernet_of(home)
    optimizer = trained(supernet)
    lookahead, mixes = Lookahead(supernet, STRONG), [mix_of(home, n) for n in (1, 2)]
    before, places = everything(supernet, optimizer), [w.data_ptr() for w in supernet.parameters()]
    assert len(before) > 1.9 * len(list(supernet.parameters()))
    for inner, momentum in (([], "fresh"), ([noise_batch(1), noise_batch(2)], "copied")):
        found = lookahead.losses(optimizer, mixes, inner, noise_batch(3), seed=5, momentum=momentum)
        assert not found.requires_grad
        assert everything(supernet, optimizer) == before
    assert [w.data_ptr() for w in supernet.parameters()] == places
    assert supernet.training


def test_every_mix_begins_from_the_same_random_numbers():
    supernet, valid = supernet_of(TWO, width=1), noise_batch(3)
    lookahead, optimizer, mix = Lookahead(supernet, STRONG), STRONG.optimizer(supernet.parameters()), mix_of(TWO, 1)

    def losses(seed):
        return lookahead.losses(optimizer, [mix, mix_of(TWO, 2), mix], [noise_batch(1)], valid, seed=seed).tolist()

    torch.manual_seed(1)
    one, another, again = losses(5), losses(6), losses(5)
    assert one[0] == one[2] != one[1]
    assert one == again
    assert one != another
    torch.manual_seed(2)
    assert losses(5) == one


def test_lookahead_runs_as_the_supernet_does():
    supernet = supernet_of(RAGGED)
    lookahead, optimizer = Lookahead(supernet, STRONG), STRONG.optimizer(supernet.parameters())
    given = optimizer, [mix_of(RAGGED, 1)], [noise_batch(1)], noise_batch(2)
    plain = lookahead.losses(*given, seed=0).item()
    supernet.engine, supernet.checkpointing = "reference", True
    assert lookahead.losses(*given, seed=0).item() == pytest.approx(plain, rel=1e-9)
    stepped = lookahead._lookahead_supernet.supernet
    assert (stepped.engine, stepped.checkpointing) == ("reference", True)
    supernet.engine, supernet.checkpointing = "fused", False
    supernet.fixed_edges = FixedEdges.none(RAGGED).fix("normal", 0, [1])
    decided = lookahead.losses(*given, seed=0).item()
    supernet.fixed_edges, by_mix = None, supernet.fixed_edges.apply(given[1][0])
    assert decided == pytest.approx(lookahead.losses(optimizer, [by_mix], *given[2:], seed=0).item(), rel=1e-9)
    assert decided != pytest.approx(plain, rel=1e-6)
    assert lookahead.losses(*given, seed=0).item() == plain


# Several processes


@pytest.mark.slow
def test_workers_find_what_one_process_finds():
    """In a space with an operation of a user's and one that draws: bit for bit, with a thread each."""
    edges = (Edge(1, 0, ("depthwise", "noise", "nor_conv_3x3")), Edge(2, 1, ("skip_connect", "depthwise")))
    home = SearchSpace("drawing", {"cell": Cell(edges)}, Stages(("cell",)), RAGGED.primitives)
    supernet = supernet_of(home).to(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimizer = trained(supernet)
        one, two = Lookahead(supernet, STRONG), Lookahead(supernet, STRONG, workers=2)
        mixes, whole, valid = [mix_of(home, n) for n in (1, 2, 3)], noise_batch(1, 12), noise_batch(2)
        inner = [type(whole)(*(part[start : start + 4] for part in whole)) for start in (0, 4, 8)]
        before = everything(supernet, optimizer)
        for momentum, seed in (("copied", 3), ("fresh", 4)):
            alone, shared = (t.losses(optimizer, mixes, inner, valid, seed=seed, momentum=momentum) for t in (one, two))
            assert alone.tolist() == shared.tolist()
        assert len(set(alone.tolist())) == 3
        alone, shared = (t.scores(optimizer, mixes, inner, [valid, noise_batch(3, 5)], seed=3) for t in (one, two))
        assert alone == shared
        assert everything(supernet, optimizer) == before
        with torch.no_grad():
            for w in supernet.parameters():
                w.mul_(1.1)  # the shared tensors are filled anew
        supernet.engine = "reference"
        alone, shared = (t.losses(optimizer, mixes[:1], inner, valid, seed=0) for t in (one, two))
        assert alone.tolist() == shared.tolist()
    finally:
        torch.set_num_threads(threads)


def test_a_space_that_cannot_be_sent_is_told():
    primitive = Primitive("mine", lambda cin, cout, stride, norm: torch.nn.Conv2d(cin, cout, 1, stride))
    home = SearchSpace("own", {"cell": Cell((Edge(1, 0, ("mine", "none")),))}, Stages(("cell",)), (primitive,))
    supernet = supernet_of(home)
    given = STRONG.optimizer(supernet.parameters()), [mix_of(home, 1)], [noise_batch(1)], noise_batch(2)
    with pytest.raises(
        UserError, match=r"^space 'own' cannot be sent to worker processes: .*lambda.* top level of a mod"
    ):
        Lookahead(supernet, STRONG, workers=2).losses(*given, seed=0)
    assert Lookahead(supernet, STRONG).losses(*given, seed=0).isfinite()
