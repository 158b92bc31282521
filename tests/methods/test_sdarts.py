"""SDARTS against its definition: the perturbation's rows, steps written out, and what must not change."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.engine.seeds import seed_of
from supernet.methods.base import Budget
from supernet.methods.sdarts import SDARTS, SDARTSConfig, projected
from supernet.models.mix import dense
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch

OPS = ("none", "skip_connect", "nor_conv_3x3")
TWO_EDGES = SearchSpace("two edges", {"cell": Cell((Edge(1, 0, OPS), Edge(2, 1, OPS[1:])))}, Stages(("cell",)))
WEIGHTS = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)
ALPHA = AlphaOptimizerConfig("sgd", lr=0.5)
FIRST, SECOND = noise_batch(1), noise_batch(2)
pytestmark = pytest.mark.usefixtures("still_noise")
each_space = pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)
each_kind = pytest.mark.parametrize("ascent", [0, 3], ids=["rs", "adv"])


def make(ascent, home=TWO_EDGES, kind=SDARTS, **changes):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    method = kind(SDARTSConfig(ascent=ascent, alpha=ALPHA, **changes), supernet, Budget(5, WEIGHTS, 3))
    with torch.no_grad():  # away from the start, where all op weights are equal
        for number, alpha in enumerate(method.alphas.values()):
            alpha += torch.randn(alpha.shape, generator=torch.Generator().manual_seed(number)).double()
    method.begin_epoch(4)
    return method


def by_hand(q, p, epsilon, ops):
    """Return P(q) for one edge, whose first `ops` columns have a candidate."""
    near = [min(max(value, at - epsilon), at + epsilon) for value, at in list(zip(q, p, strict=True))[:ops]]
    cut = [min(max(value, 0.0), 1.0) for value in near]
    if sum(cut) == 0:
        cut[near.index(max(near))] = 1.0
    return [value / sum(cut) for value in cut] + [0.0] * (len(p) - ops)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-9, 9), min_size=4, max_size=4),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_a_perturbed_row_is_the_definitions(alpha, q, epsilon, ops):
    mask = torch.arange(4) < ops
    p = torch.tensor(alpha, dtype=torch.float64).masked_fill(~mask, -torch.inf).softmax(-1)
    found = projected(torch.tensor([q], dtype=torch.float64), p[None], epsilon, mask[None])[0]
    assert found.tolist() == pytest.approx(by_hand(q, p.tolist(), epsilon, ops), abs=1e-12)
    assert found.sum().item() == pytest.approx(1)
    assert (found >= 0).all()


def test_a_row_of_zeros_becomes_the_entry_that_was_largest():
    p, mask = torch.tensor([[0.3, 0.3, 0.2, 0.2, 0.0]]), torch.tensor([[True, True, True, True, False]])
    found = projected(torch.tensor([[-0.3, -0.2, -0.1, -0.4, 0.0]]), p, 0.5, mask)
    assert found.tolist() == [[0, 0, 1, 0, 0]]


def noise_of(method):
    """Return the noise that a new method draws next, (edges, columns) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed_of(method.budget.seed, "perturbation"))
    return 2 * torch.rand(2, 3, generator=generator).double() - 1


def rows_by_hand(q, p, epsilon):
    rows = zip(q.tolist(), p.tolist(), (3, 2), strict=True)
    return torch.tensor([by_hand(*row[:2], epsilon, row[2]) for row in rows], dtype=torch.float64)


def q_by_hand(method, supernet, p, noise, ascent):
    """Return the perturbed op weights (2, 3) and the losses at p and at them; `supernet` is in evaluation mode."""
    epsilon = 0.03 + 0.27 * 4 / 5

    def loss(q):
        return F.cross_entropy(supernet(FIRST.x, dense({"cell": q})), FIRST.y)

    q = rows_by_hand(p + epsilon * noise, p, epsilon)
    for _ in range(ascent):
        at = q.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(at), [at])
        q = rows_by_hand(q + 2 * epsilon / ascent * slope.sign(), p, epsilon)
    return q, loss(p).item(), loss(q).item()


@each_kind
def test_a_step_moves_alpha_and_then_the_weights_on_perturbed_op_weights(ascent):
    method = make(ascent)
    supernet = copy.deepcopy(method.supernet)
    supernet.engine = "reference"
    alpha = method.alphas["cell"].detach().clone()
    noise, mask = noise_of(method), method.alphas.masks["cell"]
    method.step({"weights": FIRST, "alpha": SECOND})

    p = alpha.masked_fill(~mask, -torch.inf).softmax(-1).requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(supernet(SECOND.x, dense({"cell": p})), SECOND.y), [p])
    alpha -= 0.5 * (p * (g - (p * g).sum(-1, keepdim=True))).detach()
    assert torch.allclose(method.alphas["cell"].detach(), alpha, atol=1e-12)

    p = alpha.masked_fill(~mask, -torch.inf).softmax(-1)
    q, before, after = q_by_hand(method, supernet.eval(), p, noise, ascent)
    assert after > before or not ascent
    assert (q - p).abs().max() > 0.05
    supernet.train()
    gradient = torch.autograd.grad(
        F.cross_entropy(supernet(FIRST.x, dense({"cell": q})), FIRST.y), list(supernet.parameters())
    )
    scale = min(1, 0.3 / (sum(part.square().sum() for part in gradient).sqrt() + 1e-6))
    for weight, start, part in zip(method.weights, supernet.parameters(), gradient, strict=True):
        lr = method.optimizer.param_groups[0]["lr"]
        assert torch.allclose(weight, start - lr * (scale * part + 0.01 * start), atol=1e-12)
    for one, other in zip(method.supernet.buffers(), supernet.buffers(), strict=True):
        assert torch.allclose(one, other, atol=1e-12)  # statistics of two passes: alpha's and the weights'


@each_kind
@each_space
def test_rows_sum_to_one_and_nothing_else_changes(home, ascent):
    method = make(ascent, home)
    method.step({"weights": FIRST, "alpha": SECOND})
    kept = copy.deepcopy([*method.supernet.state_dict().values(), *(a.detach() for a in method.alphas.values())])
    gradients = [w.grad.clone() for w in method.weights if w.grad is not None]
    q = method.perturbed(FIRST)
    p = method.op_scores()
    for kind, rows in q.items():
        mask = method.alphas.masks[kind]
        assert torch.allclose(rows.sum(-1), torch.ones(len(rows), dtype=torch.float64))
        assert ((rows >= 0) & ((rows == 0) | mask)).all()
        several = mask.sum(-1) > 1
        assert not several.any() or (rows - p[kind]).abs().max() > 0
        assert not rows.requires_grad
    now = [*method.supernet.state_dict().values(), *method.alphas.values()]
    assert all(torch.equal(one, other) for one, other in zip(now, kept, strict=True))
    assert method.supernet.training
    assert all(
        torch.equal(w, g)
        for w, g in zip((w.grad for w in method.weights if w.grad is not None), gradients, strict=True)
    )


@each_space
def test_an_adversarial_perturbation_has_a_larger_loss_than_none(home):
    method = make(3, home)
    method.step({"weights": FIRST, "alpha": SECOND})
    q = method.perturbed(FIRST)
    method.supernet.eval()
    losses = [F.cross_entropy(method.supernet(FIRST.x, dense(rows)), FIRST.y) for rows in (method.op_scores(), q)]
    assert losses[1] > losses[0]


def test_a_perturbation_that_does_not_raise_the_loss_is_taken_back():
    class Flat(SDARTS):
        def loss(self, logits, y):
            return 0 * logits.sum()

    method = make(3, kind=Flat)
    assert torch.equal(method.perturbed(FIRST)["cell"], method.op_scores()["cell"])


def test_epsilon_grows_linearly_and_is_part_of_the_state():
    method, seen = make(0), []
    for epoch in range(5):
        method.begin_epoch(epoch)
        seen.append(method.epsilon)
    assert seen == pytest.approx([0.03, 0.084, 0.138, 0.192, 0.246])
    other = make(0)
    other.begin_epoch(0)
    method.perturbed(FIRST)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    assert torch.equal(other.perturbed(FIRST)["cell"], method.perturbed(FIRST)["cell"])


def test_without_a_perturbation_it_is_darts():
    method, other = make(0, epsilon_first=0.0, epsilon=0.0), make(0)
    method.step({"weights": FIRST, "alpha": SECOND})
    other.alpha_step(SECOND, other.mix())
    other.weight_step(FIRST, dense(other.op_scores()))
    assert all(torch.allclose(one, two, atol=1e-12) for one, two in zip(method.weights, other.weights, strict=True))
