"""FixedEdges: supernets with some edges fixed, against op weights written by hand and against whole architectures."""

from __future__ import annotations

import json
import random

import pytest
import torch
import torch.nn.functional as F

from supernet.methods.relaxation import candidate_mask, relax
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import EdgeMix, dense
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import Norm
from supernet.testing import macro_space, noise_batch, ragged_space, shortened, two_input_space

SPACES = [shortened(space("nasbench201")), ragged_space(), shortened(two_input_space()), macro_space()]
NB201 = SPACES[0]
pytestmark = pytest.mark.usefixtures("still_noise")
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)
each_engine = pytest.mark.parametrize("engine", ["fused", "reference"])


def make(home, engine="reference"):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    supernet.engine = engine
    return supernet


def alphas_of(home, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        kind: torch.randn(len(cell.edges), cell.columns, generator=g, dtype=torch.float64)
        for kind, cell in home.cells.items()
    }


def mix_of(home, alphas, activation="softmax"):
    return dense({kind: relax(alpha, candidate_mask(home.cells[kind]), activation) for kind, alpha in alphas.items()})


def some_fixed(home, count, seed=0):
    """Random operations on `count` edges; the third edge is left out."""
    rng, fixed = random.Random(seed), FixedEdges.none(home)
    places = [(kind, edge) for kind, cell in home.cells.items() for edge in range(len(cell.edges))]
    for number, (kind, edge) in enumerate(rng.sample(places, min(count, len(places)))):
        columns = [] if number == 2 else [rng.randrange(len(home.cells[kind].edges[edge].ops))]
        fixed = fixed.fix(kind, edge, columns)
    return fixed


def by_hand(fixed, mix):
    """The op weights with the rows of the fixed edges overwritten, one number after the other."""
    found = {}
    for kind, edges in mix.items():
        weights = edges.weights.detach().clone()
        for edge, row in enumerate(fixed.rows[kind]):
            if row is not None:
                for column in range(weights.shape[1]):
                    weights[edge, column] = float(column in row)
        found[kind] = weights
    return found


def all_fixed(home, genotype):
    fixed = FixedEdges.none(home)
    for kind, columns in home.columns(genotype).items():
        for edge, column in enumerate(columns):
            fixed = fixed.fix(kind, edge, [] if column is None else [column])
    return fixed


@each_space
@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_op_weights_are_those_written_by_hand(home, count):
    fixed, mix = some_fixed(home, count), mix_of(home, alphas_of(home))
    applied = fixed.apply(mix)
    for kind, weights in by_hand(fixed, mix).items():
        assert torch.equal(applied[kind].weights, weights)
        for edge, row in enumerate(fixed.rows[kind]):
            if row is not None:
                assert applied[kind].active[edge] == row
    if not count:
        assert all(applied[kind] is mix[kind] for kind in mix)


@each_space
def test_with_k_fixed_edges_exactly_k_rows_are_one_hot_and_the_others_are_the_mixs(home):
    mix, fixed = mix_of(home, alphas_of(home)), FixedEdges.none(home)
    places = [(kind, edge) for kind, cell in home.cells.items() for edge, e in enumerate(cell.edges) if len(e.ops) > 1]
    random.Random(1).shuffle(places)
    done = []
    for kind, edge in places:
        fixed = fixed.fix(kind, edge, [len(home.cells[kind].edges[edge].ops) - 1])
        done.append((kind, edge))
        applied = fixed.apply(mix)
        hot = [p for p in places if sorted(applied[p[0]].weights[p[1]].tolist())[-2:] == [0, 1]]
        assert hot == [place for place in places if place in done]
        for kind, edge in set(places) - set(done):
            assert torch.equal(applied[kind].weights[edge], mix[kind].weights[edge])


@pytest.mark.parametrize("home", SPACES[:3], ids=lambda home: home.name)
@each_engine
def test_masking_all_but_one_operation_is_fixing_the_edge_except_for_the_remaining_weight(home, engine):
    supernet, x, mix = make(home, engine), noise_batch(1).x, mix_of(home, alphas_of(home))
    kind, cell = next(iter(home.cells.items()))
    for edge, column in ((0, 1), (len(cell.edges) - 1, 0)):
        masked = mix[kind].weights.clone()
        masked[edge, torch.arange(cell.columns) != column] = 0
        scaled = masked.clone()
        scaled[edge] /= scaled[edge].sum()
        fixed = FixedEdges.none(home).fix(kind, edge, [column]).apply(mix)
        assert torch.equal(scaled, fixed[kind].weights)
        as_fixed = supernet(x, fixed)
        torch.testing.assert_close(supernet(x, {**mix, kind: EdgeMix(scaled)}), as_fixed, rtol=1e-10, atol=1e-12)
        if cell.edges[edge].ops[column] != "none":
            assert not torch.allclose(supernet(x, {**mix, kind: EdgeMix(masked)}), as_fixed, atol=1e-4)


@each_space
@each_engine
@pytest.mark.parametrize(("activation", "checkpointing"), [("softmax", False), ("sigmoid", True)])
def test_alpha_has_no_gradient_on_fixed_edges_and_autograds_on_the_others(home, engine, checkpointing, activation):
    fixed, batch = some_fixed(home, 2), noise_batch(2)
    ours, theirs = ({k: a.clone().requires_grad_() for k, a in alphas_of(home).items()} for _ in range(2))
    supernet = make(home, engine)
    supernet.fixed_edges, supernet.checkpointing = fixed, checkpointing
    F.cross_entropy(supernet(batch.x, mix_of(home, ours, activation)), batch.y).backward()

    reference, weights = make(home), {}
    for kind, edges in mix_of(home, theirs, activation).items():  # one row after the other, constants in their places
        constants = by_hand(fixed, {kind: edges})[kind]
        rows = [edges.weights[e] if row is None else constants[e] for e, row in enumerate(fixed.rows[kind])]
        weights[kind] = torch.stack(rows)
    F.cross_entropy(reference(batch.x, dense(weights)), batch.y).backward()

    moved = 0
    for kind, alpha in ours.items():
        wanted = torch.zeros_like(alpha) if theirs[kind].grad is None else theirs[kind].grad
        found = torch.zeros_like(alpha) if alpha.grad is None else alpha.grad
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)
        for edge, row in enumerate(fixed.rows[kind]):
            assert row is None or not found[edge].any()
            moved += bool(found[edge].any())
    assert moved
    for w, v in zip(supernet.parameters(), reference.parameters(), strict=True):
        zero = torch.zeros_like(w)
        torch.testing.assert_close(
            zero if w.grad is None else w.grad, zero if v.grad is None else v.grad, rtol=1e-9, atol=1e-12
        )


@each_space
@each_engine
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_a_supernet_with_all_edges_fixed_is_the_architecture(home, engine, train):
    supernet, x, rng = make(home, engine).train(train), noise_batch(3).x, random.Random(2)
    mix = mix_of(home, alphas_of(home))
    mixed = supernet(x, mix).detach()
    buffers = {name: value.clone() for name, value in supernet.named_buffers()}
    for _ in range(2):
        genotype = home.sample(rng)
        only = supernet.only(genotype)
        alone = supernet(x, only).detach()
        supernet.load_state_dict(buffers, strict=False)
        supernet.fixed_edges = all_fixed(home, genotype)
        assert not torch.allclose(alone, mixed, atol=1e-4)
        supernet.checkpointing = True
        torch.testing.assert_close(supernet(x, mix).detach(), alone, rtol=1e-10, atol=1e-10)
        supernet.checkpointing = False
        torch.testing.assert_close(supernet(x, mix).detach(), alone, rtol=1e-10, atol=1e-10)
        supernet.load_state_dict(buffers, strict=False)
        other = supernet.only(home.sample(rng))  # the mix does not matter, also if it runs a single path
        for logits in supernet.batched(x, [mix, other, only]):
            torch.testing.assert_close(logits, alone, rtol=1e-10, atol=1e-10)
        supernet.fixed_edges = None


def test_batched_mixes_are_each_run_with_the_fixed_edges():
    home, x = NB201, noise_batch(4).x
    supernet, mixes = make(home), [mix_of(home, alphas_of(home, seed)) for seed in range(3)]
    supernet.fixed_edges = fixed = some_fixed(home, 3)
    found = supernet.batched(x, mixes)
    supernet.fixed_edges = None
    for logits, mix in zip(found, mixes, strict=True):
        torch.testing.assert_close(logits, supernet(x, fixed.apply(mix)).detach(), rtol=1e-10, atol=1e-10)
        assert not torch.allclose(logits, supernet(x, mix).detach(), atol=1e-4)


def test_a_fixed_edge_replaces_the_active_operations_of_a_sparse_mix():
    width = {"cell": NB201.cells["cell"].columns}
    active = tuple((k % 3,) for k in range(6))
    weights = F.one_hot(torch.tensor([k % 3 for k in range(6)]), width["cell"]).double()
    applied = (
        FixedEdges.none(NB201)
        .fix("cell", 1, [4])
        .fix("cell", 3, [])
        .apply({"cell": EdgeMix(weights, active, ones=True)})["cell"]
    )
    assert applied.active == ((0,), (4,), (2,), (), (1,), (2,))
    assert applied.ones
    assert applied.weights.argmax(1)[[0, 1, 2, 4, 5]].tolist() == [0, 4, 2, 1, 2]
    assert not applied.weights[3].any()


def test_fixed_edges_are_plain_data_and_fixing_another_edge_leaves_them_unchanged():
    before = FixedEdges.none(SPACES[1]).fix("normal", 2, [1])
    after = before.fix("normal", 0, [1]).fix("last", 0, [])
    assert before.rows == {"normal": (None, None, (1,)), "last": (None,)}
    assert after.rows == {"normal": ((1,), None, (1,)), "last": ((),)}
    assert FixedEdges.from_json(json.loads(json.dumps(after.to_json()))) == after
    assert FixedEdges.none(SPACES[1]).rows == {"normal": (None, None, None), "last": (None,)}


def test_fixed_edges_first_applied_in_inference_mode_can_be_trained_with():
    supernet, batch = make(NB201, "fused"), noise_batch(5)
    supernet.fixed_edges = FixedEdges.none(NB201).fix("cell", 0, [3])
    with torch.inference_mode():
        supernet(batch.x, mix_of(NB201, alphas_of(NB201)))
    alphas = {kind: alpha.requires_grad_() for kind, alpha in alphas_of(NB201).items()}
    F.cross_entropy(supernet(batch.x, mix_of(NB201, alphas)), batch.y).backward()
    assert not alphas["cell"].grad[0].any()
    assert alphas["cell"].grad[1:].any()
