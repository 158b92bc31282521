"""FairDARTS against its equations, with the gradients of the zero-one loss and the steps written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.methods.base import Budget
from supernet.methods.fairdarts import FairDARTS, FairDARTSConfig
from supernet.models.mix import dense
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import noise_batch

EDGES = (Edge(1, 0, ("skip_connect", "nor_conv_1x1", "none")), Edge(2, 1, ("avg_pool_3x3", "nor_conv_3x3")))
HOME = SearchSpace("two edges", {"a": Cell(EDGES), "b": Cell(EDGES[:1])}, Stages(("a", "b")))
MASKS = {"a": torch.tensor([[1, 1, 1], [1, 1, 0]]), "b": torch.tensor([[1, 1, 1]])}
D = 8
WEIGHTS = SGDConfig(lr=0.1, momentum=0.0, weight_decay=0.0, clip=0.0)


def make(config=None, moved=True):
    torch.manual_seed(0)
    supernet = Supernet(HOME, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    method = FairDARTS(config or FairDARTSConfig(), supernet, Budget(2, WEIGHTS, 3))
    if moved:
        with torch.no_grad():  # away from the start, where the zero-one loss has no gradient
            for number, alpha in enumerate(method.alphas.values()):
                alpha += torch.randn(alpha.shape, generator=torch.Generator().manual_seed(number)).double()
    return method


def by_hand(method, alphas, batch):
    """The cross-entropy, and its gradients with respect to the op weights and to the supernet's weights."""
    p = {kind: (torch.sigmoid(alpha) * MASKS[kind]).detach().requires_grad_() for kind, alpha in alphas.items()}
    buffers = {name: value.clone() for name, value in method.supernet.named_buffers()}
    logits = torch.func.functional_call(method.supernet, buffers, (batch.x, dense(p)))
    loss, weights = F.cross_entropy(logits, batch.y), list(method.supernet.parameters())
    gradient = torch.autograd.grad(loss, [*p.values(), *weights])
    return loss.detach(), dict(zip(p, gradient, strict=False)), gradient[len(p) :]


def alpha_gradient(alphas, g, form, weight):
    found = {}
    for kind, alpha in alphas.items():
        p = torch.sigmoid(alpha)
        push = 2 * (p - 0.5) if form == "l2" else torch.sign(p - 0.5)
        found[kind] = (g[kind] - weight / D * push) * p * (1 - p) * MASKS[kind]
    return found


def first_adam_step(alpha, gradient):
    """3e-3 against the gradient with decay 1e-3: at the first step the moments are the gradient and its square."""
    g = gradient + 1e-3 * alpha
    return alpha - 3e-3 * g / (g.abs() + 1e-8)


@pytest.mark.parametrize("form", ["l2", "l1"])
@pytest.mark.parametrize("regime", ["different_subset", "same_batch"])
def test_a_step_is_the_one_written_out(regime, form):
    method = make(FairDARTSConfig(regime=regime, zero_one=form, zero_one_weight=7.0))
    alphas = {kind: alpha.detach().clone() for kind, alpha in method.alphas.items()}
    weights = [w.detach().clone() for w in method.supernet.parameters()]
    batches = {"weights": noise_batch(0)}
    if regime == "different_subset":
        batches["alpha"] = noise_batch(1)
    _, g, _ = by_hand(method, alphas, batches.get("alpha", batches["weights"]))
    after = {k: first_adam_step(alphas[k], v) for k, v in alpha_gradient(alphas, g, form, 7.0).items()}
    loss, _, w_gradient = by_hand(method, alphas if regime == "same_batch" else after, batches["weights"])
    p = torch.cat([torch.sigmoid(a)[MASKS[k] == 1] for k, a in (alphas if regime == "same_batch" else after).items()])
    assert len(p) == D
    far = (p - 0.5).square() if form == "l2" else (p - 0.5).abs()

    metrics = method.step(batches)
    assert metrics["loss"].item() == pytest.approx((loss - 7.0 * far.mean()).item(), rel=1e-12)
    for kind, alpha in method.alphas.items():
        assert torch.allclose(alpha * MASKS[kind], after[kind] * MASKS[kind], rtol=1e-9, atol=1e-12)
    for weight, old, gradient in zip(method.supernet.parameters(), weights, w_gradient, strict=True):
        assert torch.allclose(weight, old - 0.1 * gradient, rtol=1e-9, atol=1e-12)


def test_the_second_step_of_alpha_has_the_published_betas():
    method = make()
    first, second = dict.fromkeys(HOME.cells, 0.0), dict.fromkeys(HOME.cells, 0.0)
    for number in (1, 2):
        batches = {"weights": noise_batch(0), "alpha": noise_batch(number)}
        alphas = {kind: alpha.detach().clone() for kind, alpha in method.alphas.items()}
        gradient = alpha_gradient(alphas, by_hand(method, alphas, batches["alpha"])[1], "l2", 10.0)
        method.step(batches)
        for kind, alpha in method.alphas.items():
            g = gradient[kind] + 1e-3 * alphas[kind]
            first[kind] = 0.9 * first[kind] + 0.1 * g
            second[kind] = 0.999 * second[kind] + 0.001 * g**2
            mean, square = first[kind] / (1 - 0.9**number), second[kind] / (1 - 0.999**number)
            moved = alphas[kind] - 3e-3 * mean / (square.sqrt() + 1e-8)
            assert torch.allclose(alpha * MASKS[kind], moved * MASKS[kind], rtol=1e-9, atol=1e-12)


def test_a_search_starts_with_op_weights_of_a_half_and_without_a_push():
    method = make(moved=False)
    for kind, edges in method.mix().items():
        assert torch.equal(edges.weights, 0.5 * MASKS[kind].double())
    assert METHODS["fairdarts"].selector == "threshold"
    for form in ("l2", "l1"):
        method = make(FairDARTSConfig(zero_one=form), moved=False)
        logits, y = torch.randn(4, 3).double(), torch.tensor([0, 1, 2, 0])
        pushed = method.loss(logits, y) - F.cross_entropy(logits, y)
        gradient = torch.autograd.grad(pushed, list(method.alphas.values()))
        assert pushed.item() == 0
        assert not any(part.any() for part in gradient)


def test_softmax_is_refused_in_a_line():
    with pytest.raises(UserError, match="set the activation to sigmoid"):
        FairDARTSConfig(activation="softmax")
