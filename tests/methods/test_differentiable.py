"""Gradient methods against their equations: steps written out, the batches of each part, and the unrolled gradient."""

from __future__ import annotations

import io
import itertools
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.data import Batch, split
from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.engine.precision import products
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.methods.random_search import RandomSearch, RandomSearchConfig
from supernet.methods.relaxation import relax
from supernet.methods.unrolled import unrolled_gradient
from supernet.models.mix import EdgeMix, dense
from supernet.models.supernet import Supernet
from supernet.searching.plan import planned as plan
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, PairDataset, noise_batch, tiny_images

NB201, RAGGED, TWO, MACRO, _ = EXAMPLE_SPACES
STRONG = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)  # clips in every step
each_space = pytest.mark.parametrize("home", [NB201, RAGGED, TWO, MACRO], ids=lambda home: home.name)
SGD = AlphaOptimizerConfig("sgd", lr=0.5, weight_decay=0.02)
ADAM = AlphaOptimizerConfig("adam", lr=0.01, weight_decay=0.02)
each_optimizer = pytest.mark.parametrize("alpha", [SGD, ADAM], ids=["sgd", "adam"])
pytestmark = pytest.mark.usefixtures("still_noise")


def each_case(name, first, second):
    """Parametrize by space, optimizer and `name`: all combinations in small spaces, each value once in the others."""
    cases = [*itertools.product((RAGGED, MACRO), (SGD, ADAM), (first, second))]
    cases += [(home, *case) for home in (NB201, TWO) for case in ((SGD, first), (ADAM, second))]
    ids = [f"{home.name} {alpha.optimizer} {value}" for home, alpha, value in cases]
    return pytest.mark.parametrize(("home", "alpha", name), cases, ids=ids)


def supernet_of(home, norm, width):
    torch.manual_seed(0)
    return Supernet(home, NetworkSize(width, 1, (8, 8), 1, 3), norm).double()


def make(home, config, weights=STRONG, seed=3, epochs=4, norm=Norm(affine=False), width=2, kind=Differentiable):  # noqa: B008
    method = kind(config, supernet_of(home, norm, width), Budget(epochs, weights, seed))
    with torch.no_grad():  # away from the start, where all op weights are equal
        for number, alpha in enumerate(method.alphas.values()):
            alpha += torch.randn(alpha.shape, generator=torch.Generator().manual_seed(number)).double()
    return method


def copy_of(supernet):
    """A supernet with the same weights and statistics; much faster than a deep copy, which copies cached plans."""
    other = Supernet(supernet.space, supernet.network_size, supernet.norm).double()
    other.load_state_dict(supernet.state_dict())
    return other


class ByHand:
    """The updates written out on a copy: SGD with clipping for the weights, SGD or Adam for the alphas."""

    def __init__(self, method):
        self.supernet, self.method = copy_of(method.supernet), method
        self.alphas = {kind: alpha.detach().clone() for kind, alpha in method.alphas.items()}
        self.w_buffer = [torch.zeros_like(w) for w in self.supernet.parameters()]
        self.a_state = dict.fromkeys(self.alphas, (0, 0))
        self.steps = 0

    def loss(self, batch, alphas):
        config, masks = self.method.config, self.method.alphas.masks
        buffers = {name: value.clone() for name, value in self.supernet.named_buffers()}  # the same for each pass
        mix = dense({kind: relax(alpha, masks[kind], config.activation) for kind, alpha in alphas.items()})
        logits = torch.func.functional_call(self.supernet, buffers, (batch.x, mix))
        return F.cross_entropy(logits, batch.y), list(self.supernet.parameters())

    def w_gradient(self, batch):
        loss, weights = self.loss(batch, self.alphas)
        gradient = torch.autograd.grad(loss, weights)
        norm = sum(part.square().sum() for part in gradient).sqrt()
        clip = self.method.budget.weights.clip
        assert norm > clip
        return [part * clip / (norm + 1e-6) for part in gradient]

    def a_gradient(self, batch):
        alphas = {kind: alpha.clone().requires_grad_() for kind, alpha in self.alphas.items()}
        loss, _ = self.loss(batch, alphas)
        return dict(zip(alphas, torch.autograd.grad(loss, list(alphas.values())), strict=True))

    def w_update(self, gradient):
        w = self.method.budget.weights
        with torch.no_grad():
            for weight, buffer, g in zip(self.supernet.parameters(), self.w_buffer, gradient, strict=True):
                buffer.mul_(w.momentum).add_(g + w.weight_decay * weight)
                weight -= w.lr * buffer

    def a_update(self, gradient):
        settings, self.steps = self.method.config.alpha, self.steps + 1
        for kind, alpha in self.alphas.items():
            g = gradient[kind] + settings.weight_decay * alpha
            first, second = self.a_state[kind]
            if settings.optimizer == "sgd":
                first = 0.9 * first + g
                alpha -= settings.lr * first
            else:
                first, second = 0.5 * first + 0.5 * g, 0.999 * second + 0.001 * g**2
                mean, square = first / (1 - 0.5**self.steps), second / (1 - 0.999**self.steps)
                alpha -= settings.lr * mean / (square.sqrt() + 1e-8)
            self.a_state[kind] = first, second

    def agrees(self):
        pairs = [(self.alphas[kind], alpha.detach()) for kind, alpha in self.method.alphas.items()]
        pairs += zip(self.supernet.parameters(), self.method.supernet.parameters(), strict=True)
        return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)


# Single level


@each_case("activation", "softmax", "sigmoid")
def test_a_single_level_step_equals_both_updates_from_two_backward_passes_at_the_same_point(home, alpha, activation):
    method = make(home, DifferentiableConfig(activation=activation, alpha=alpha))
    hand = ByHand(method)
    for number in range(2):
        batch = noise_batch(number)
        w, a = hand.w_gradient(batch), hand.a_gradient(batch)
        hand.w_update(w)
        hand.a_update(a)
        method.step({"weights": batch})
        assert hand.agrees()


@each_optimizer
@pytest.mark.parametrize("first", ["weights", "alpha"])
def test_a_single_level_step_is_not_one_update_after_the_other(alpha, first):
    method = make(NB201, DifferentiableConfig(alpha=alpha))
    hand, batch = ByHand(method), noise_batch(0)
    if first == "weights":
        hand.w_update(hand.w_gradient(batch))
        hand.a_update(hand.a_gradient(batch))
    else:
        hand.a_update(hand.a_gradient(batch))
        hand.w_update(hand.w_gradient(batch))
    method.step({"weights": batch})
    assert not hand.agrees()


def test_a_single_level_step_runs_the_supernet_once():
    method = make(NB201, DifferentiableConfig())
    runs = []
    method.supernet.register_forward_hook(lambda *_: runs.append(1))
    method.step({"weights": noise_batch(0)})
    assert len(runs) == 1
    assert method.supernet.layers[0][1].num_batches_tracked == 1


def test_weights_are_clipped_and_alphas_are_not():
    method = make(NB201, DifferentiableConfig(), weights=SGDConfig(clip=1e-4))
    method.step({"weights": noise_batch(0)})
    norm = torch.linalg.vector_norm(torch.cat([w.grad.flatten() for w in method.weights]))
    assert norm.item() == pytest.approx(1e-4, rel=0.02)
    assert method.alphas["cell"].grad.norm() > 1e-3


def test_clip_zero_does_not_clip():
    method, batch = make(NB201, DifferentiableConfig(), weights=SGDConfig(clip=0)), noise_batch(0)
    loss = F.cross_entropy(copy_of(method.supernet)(batch.x, method.mix()), batch.y).item()
    found = method.step({"weights": batch})
    assert found["loss"].item() == pytest.approx(loss)
    assert torch.linalg.vector_norm(torch.cat([w.grad.flatten() for w in method.weights])) > 0.3


def test_measures_are_loss_and_accuracy_of_the_batch_before_the_step():
    method, batch = make(NB201, DifferentiableConfig()), noise_batch(0)
    logits = copy_of(method.supernet)(batch.x, method.mix())
    found = method.step({"weights": batch})
    assert found["loss"].item() == pytest.approx(F.cross_entropy(logits, batch.y).item())
    assert found["accuracy"].item() == pytest.approx(sum((logits.argmax(1) == batch.y).tolist()) / len(batch.y))
    assert not any(value.requires_grad for value in found.values())


def test_the_supernets_parameters_hold_no_alpha():
    method = make(RAGGED, DifferentiableConfig())
    places = {alpha.data_ptr() for alpha in method.alphas.values()}
    assert len(places) == 2
    assert not places & {w.data_ptr() for w in (*method.supernet.parameters(), *method.supernet.buffers())}
    assert not places & {w.data_ptr() for group in method.optimizer.param_groups for w in group["params"]}
    steered = {a.data_ptr() for group in method.alphas.optimizer.param_groups for a in group["params"]}
    assert steered == places


# Bi-level, first order


@each_case("regime", "same_subset", "different_subset")
@pytest.mark.parametrize("first", ["alpha", "weights"])
def test_a_bi_level_step_updates_alpha_and_the_weights_each_on_its_batch_in_order(home, alpha, regime, first):
    method = make(home, DifferentiableConfig(regime=regime, activation="softmax", alpha=alpha, first=first))
    hand = ByHand(method)
    for number in range(2):
        batch, other = noise_batch(number), noise_batch(100 + number)
        if first == "alpha":
            hand.a_update(hand.a_gradient(other))
        hand.w_update(hand.w_gradient(batch))
        if first == "weights":
            hand.a_update(hand.a_gradient(other))
        method.step({"weights": batch, "alpha": other})
        assert hand.agrees()


def test_the_weights_step_leaves_alphas_gradient_that_of_its_own_batch():
    method = make(NB201, DifferentiableConfig(regime="different_subset"))
    hand, other = ByHand(method), noise_batch(1)
    wanted = hand.a_gradient(other)["cell"]
    method.step({"weights": noise_batch(0), "alpha": other})
    torch.testing.assert_close(method.alphas["cell"].grad, wanted)


@pytest.mark.parametrize("settings", [{"lr": 0.3, "lr_min": 0.1}, {"lr": 0.3}])
def test_weights_follow_the_cosine_and_alpha_keeps_its_rate(settings):
    weights = SGDConfig(**settings)
    method = make(NB201, DifferentiableConfig(), weights=weights, epochs=3)
    for epoch in range(3):
        method.begin_epoch(epoch)
        assert method.optimizer.param_groups[0]["lr"] == weights.rate(epoch, 3)
        assert method.alphas.optimizer.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            DifferentiableConfig(order=2),
            "order 2 needs a second batch for alpha: set the regime to different_subset or same_subset",
        ),
        (
            DifferentiableConfig(first="weights"),
            "alpha and the weights learn at once with regime same_batch: neither is first",
        ),
        (
            DifferentiableConfig(regime="different_subset", train_on="full"),
            "regime different_subset keeps half of the images for alpha: it does not go with train-on full",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, message):
    with pytest.raises(UserError) as caught:
        make(NB201, config)
    assert str(caught.value) == message


# Which images each part of a step sees


def drawn(tmp_path, **settings):
    """Run two epochs of a search; return the indices in each step's batches, and those of either half of the images."""
    images = tiny_images(40)
    planned = plan(
        PairDataset(images),
        method="single-darts",
        space=RAGGED,
        epochs=2,
        batch_size=5,
        width=2,
        device="cpu",
        pad=0,
        mirror=False,
        **settings,
    )
    task = SearchTask(planned)
    seen, step = [], task.method.step

    def noting(batches):
        seen.append({name: batch.index.tolist() for name, batch in batches.items()})
        return step(batches)

    task.method.step = noting
    Loop(task, Run(tmp_path), 2, Callback())()
    first, second = (set(half.tolist()) for half in split(images.y))
    assert not first & second
    return seen, first, second


def test_same_batch_draws_one_stream_from_the_training_images(tmp_path):
    seen, first, _ = drawn(tmp_path, regime="same_batch")
    assert all(set(step) == {"weights"} for step in seen)
    assert {i for step in seen for i in step["weights"]} == first
    assert len(seen) == 2 * 4  # two passes over 20 images


def test_same_subset_draws_different_batches_from_the_training_images(tmp_path):
    seen, first, _ = drawn(tmp_path, regime="same_subset")
    for name in ("weights", "alpha"):
        assert {i for step in seen for i in step[name]} == first
    assert all(set(step["weights"]) != set(step["alpha"]) for step in seen)
    assert any(set(step["weights"]) & set(step["alpha"]) for step in seen)  # independent, not complementary


def test_different_subset_draws_alpha_from_the_validation_images(tmp_path):
    seen, first, second = drawn(tmp_path, regime="different_subset")
    assert {i for step in seen for i in step["weights"]} == first
    assert {i for step in seen for i in step["alpha"]} == second


@pytest.mark.parametrize("regime", ["same_batch", "same_subset"])
def test_train_on_full_draws_from_all_images(tmp_path, regime):
    seen, first, second = drawn(tmp_path, regime=regime, train_on="full")
    assert {i for step in seen for i in step["weights"]} == first | second
    assert len(seen) == 2 * 8


# Bi-level, second order


def smooth(module):
    """Replace ReLU by tanh, so that a finite difference differs from the derivative by its own error alone."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.Tanh())
        else:
            smooth(child)
    return module


def through_the_step(method, batch, other):
    """Differentiate through the unrolled step.

    Returns dL2(w'(alpha), alpha)/dalpha, and as a function of R the paper's estimate of it: the part with w' held fixed
    and the rest by a central difference over a distance of R.
    """
    group, alphas = method.optimizer.param_groups[0], list(method.alphas.values())
    names, weights = zip(*method.supernet.named_parameters(), strict=True)

    def loss(values, batch):
        values = dict(zip(names, values, strict=True))
        logits = torch.func.functional_call(method.supernet, values, (batch.x, method.mix()))
        return F.cross_entropy(logits, batch.y)

    def flat(gradient):
        return torch.cat([part.flatten() for part in gradient])

    slope = torch.autograd.grad(loss(weights, batch), weights, create_graph=True)
    buffers = [method.optimizer.state[w]["momentum_buffer"] if method.optimizer.state else 0 for w in weights]
    ahead = [
        w - group["lr"] * (group["momentum"] * buffer + g + group["weight_decay"] * w)
        for w, buffer, g in zip(weights, buffers, slope, strict=True)
    ]
    exact = flat(torch.autograd.grad(loss(ahead, other), alphas))
    fixed = [w.detach().requires_grad_() for w in ahead]
    direct = flat(torch.autograd.grad(loss(fixed, other), alphas))
    v = torch.autograd.grad(loss(fixed, other), fixed)

    def estimate(distance):
        step = distance / flat(v).norm()
        plus, minus = (
            flat(torch.autograd.grad(loss([w + s * part for w, part in zip(weights, v, strict=True)], batch), alphas))
            for s in (step, -step)
        )
        return direct - group["lr"] * (plus - minus) / (2 * step)

    return exact, direct, estimate


@pytest.mark.parametrize("home", [RAGGED, space("nasbench201"), MACRO], ids=lambda home: home.name)
@pytest.mark.parametrize("warm", [0, 3], ids=["no momentum yet", "with momentum"])
def test_the_second_order_gradient_is_the_derivative_through_the_step(home, warm):
    config = DifferentiableConfig(regime="different_subset", activation="softmax", order=2)
    weights = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.5)
    method = make(home, config, weights, norm=Norm(affine=False, track=False), width=4)
    smooth(method.supernet).engine = "reference"  # the only engine that can be differentiated twice
    for number in range(warm):
        method.step({"weights": noise_batch(number), "alpha": noise_batch(50 + number)})
    batch, other = noise_batch(10), noise_batch(11)
    exact, direct, estimate = through_the_step(method, batch, other)
    correction = (exact - direct).norm()
    assert correction > 0.05 * exact.norm()  # otherwise the comparison below would show nothing
    found = torch.cat([g.flatten() for g in method.alpha_gradient(batch, other)])
    assert (found - exact).norm() < 0.01 * correction
    # The rest is the error of a central difference over 0.01, which shrinks with the square of the distance
    torch.testing.assert_close(found, estimate(0.01), rtol=1e-9, atol=1e-12)
    assert (estimate(1e-5) - exact).norm() < 1e-7 * correction


def second_order_correction(kind, precision):
    """Return the correction alone, as the pass of alpha's batch has a mix without gradient, and each pass' use of TF32.

    The correction is flat.
    """
    supernet = supernet_of(space("nasbench201"), Norm(affine=False), width=4).to(kind)
    supernet.precision = precision
    alpha = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(kind).requires_grad_()
    tf32 = []

    def mix():
        tf32.append(torch.backends.cuda.matmul.allow_tf32)
        weights = alpha.softmax(-1)
        return dense({"cell": weights.detach() if len(tf32) == 2 else weights})

    batches = [Batch(batch.x.to(kind), batch.y, batch.index) for batch in (noise_batch(10), noise_batch(11))]
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    with products(precision):
        (found,) = unrolled_gradient(supernet, mix, [alpha], optimizer, *batches)
    assert supernet.precision == precision
    return found.double().flatten(), tf32


def test_the_finite_difference_is_taken_in_float32_whatever_the_precision():
    exact, _ = second_order_correction(torch.float64, "float32")
    for precision, least, tf32 in (("float32", 0.9999, False), ("tf32", 0.9999, True), ("bf16", 0.97, False)):
        found, used = second_order_correction(torch.float32, precision)
        assert F.cosine_similarity(found, exact, dim=0) > least  # the rest is the rounding of v, of alpha's pass
        assert used == [False, tf32, False, False]  # only a GPU computes in TF32


class Quadratic(nn.Module):
    """Two logits whose difference is the quadratic Q(w, alpha) = x (w'Aw/2 + w'B alpha) + (1 - x) (w'Cw/2 + w'D alpha).

    With the label (-1, 1) the cross-entropy is -(-1) log p_0 - 1 log p_1 = logit_0 - logit_1 = Q: x = 1 is one batch's
    loss, x = 0 the other's.
    """

    checkpointing = False
    precision = "float32"

    def __init__(self, n, m):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(n, generator=g, dtype=torch.float64))
        self.A, self.C = (torch.randn(n, n, generator=g, dtype=torch.float64) for _ in range(2))
        self.A, self.C = self.A + self.A.T, self.C + self.C.T
        self.B, self.D = (torch.randn(n, m, generator=g, dtype=torch.float64) for _ in range(2))

    def forward(self, x, mix):
        w, alpha = self.w, mix["cell"].weights
        one = w @ self.A @ w / 2 + w @ self.B @ alpha
        other = w @ self.C @ w / 2 + w @ self.D @ alpha
        value = x * one + (1 - x) * other
        return torch.stack([value, torch.zeros_like(value)], dim=-1)


def test_on_a_quadratic_the_second_order_gradient_is_exact_and_its_correction_is_subtracted():
    toy, alpha = Quadratic(5, 3), torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    label = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    one, other = (Batch(torch.tensor([x], dtype=torch.float64), label, torch.tensor([0])) for x in (1.0, 0.0))
    (found,) = unrolled_gradient(toy, lambda: {"cell": EdgeMix(alpha)}, [alpha], optimizer, one, other)
    with torch.no_grad():
        ahead = toy.w - 0.05 * (toy.A @ toy.w + toy.B @ alpha + 0.1 * toy.w)
        v = toy.C @ ahead + toy.D @ alpha
        direct, correction = toy.D.T @ ahead, 0.05 * toy.B.T @ v
    assert correction.norm() > 0.1
    torch.testing.assert_close(found, direct - correction, rtol=1e-10, atol=1e-10)


def test_the_momentum_buffer_moves_the_unrolled_step():
    toy, alpha = Quadratic(5, 3), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.05, momentum=0.9)
    label = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    one, other = (Batch(torch.tensor([x], dtype=torch.float64), label, torch.tensor([0])) for x in (1.0, 0.0))
    buffer = torch.arange(5, dtype=torch.float64)
    optimizer.state[toy.w]["momentum_buffer"] = buffer.clone()
    (found,) = unrolled_gradient(toy, lambda: {"cell": EdgeMix(alpha)}, [alpha], optimizer, one, other)
    with torch.no_grad():
        ahead = toy.w - 0.05 * (0.9 * buffer + toy.A @ toy.w)
        wanted = toy.D.T @ ahead - 0.05 * toy.B.T @ (toy.C @ ahead)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@each_space
def test_a_second_order_gradient_changes_no_state(home):
    config = DifferentiableConfig(regime="different_subset", activation="softmax", order=2)
    method = make(home, config, norm=Norm(affine=True, track=True))
    method.step({"weights": noise_batch(0), "alpha": noise_batch(1)})
    before = saved(method)
    gradients = [w.grad.clone() for w in method.weights]
    method.alpha_gradient(noise_batch(2), noise_batch(3))
    assert saved(method) == before
    assert all(torch.equal(w.grad, g) for w, g in zip(method.weights, gradients, strict=True))


def saved(method):
    """The state of the method as bytes."""
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    return file.getvalue()


def test_a_second_order_step_updates_alpha_by_that_gradient_and_then_the_weights():
    method = make(
        RAGGED,
        DifferentiableConfig(
            regime="different_subset", activation="softmax", order=2, alpha=AlphaOptimizerConfig(lr=2.0)
        ),
    )
    hand, batch, other = ByHand(method), noise_batch(0), noise_batch(1)
    hand.a_update(dict(zip(method.alphas, method.alpha_gradient(batch, other), strict=True)))
    hand.w_update(hand.w_gradient(batch))
    first = make(
        RAGGED,
        DifferentiableConfig(regime="different_subset", activation="softmax", alpha=AlphaOptimizerConfig(lr=2.0)),
    )
    for each in (method, first):
        each.step({"weights": batch, "alpha": other})
    assert hand.agrees()
    assert not torch.allclose(method.alphas["normal"], first.alphas["normal"], rtol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_a_node_that_is_not_read_does_not_stop_a_search(order):
    ops = ("nor_conv_1x1", "skip_connect")
    home = SearchSpace("dead end", {"a": Cell((Edge(1, 0, ops), Edge(2, 0, ops)))}, Stages(("a",)))
    method = make(home, DifferentiableConfig(regime="different_subset", order=order))
    method.step({"weights": noise_batch(0), "alpha": noise_batch(1)})
    assert torch.equal(method.alphas["a"].grad[0], torch.zeros(2, dtype=torch.float64))
    assert (method.alphas["a"].grad[1] != 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_a_weight_that_is_not_learned_does_not_stop_a_search(order):
    method = make(RAGGED, DifferentiableConfig(regime="different_subset", order=order))
    frozen = method.supernet.layers[0][0].weight.requires_grad_(False)
    before, alphas = frozen.clone(), method.alphas["normal"].detach().clone()
    method.step({"weights": noise_batch(0), "alpha": noise_batch(1)})
    assert torch.equal(frozen, before)
    assert not torch.equal(method.alphas["normal"], alphas)


# Random search


def random_search(home=RAGGED, seed=0, epochs=6, each=2, **settings):
    torch.manual_seed(99)
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), Norm(affine=False))
    return RandomSearch(RandomSearchConfig(each), supernet, Budget(epochs, SGDConfig(lr=0.05, **settings), seed))


def single(batch):
    return {"weights": batch._replace(x=batch.x.float())}


def test_candidates_differ_by_number_and_by_seed():
    def candidates(seed, home=NB201):
        method, found = random_search(home, seed, epochs=16), []
        method.restart = lambda seed: None
        for epoch in range(0, 16, 2):
            method.begin_epoch(epoch)
            found.append(method.candidate)
        return found

    assert len(set(candidates(0))) == 8
    assert candidates(0) == candidates(0)
    assert not set(candidates(0)) & set(candidates(1))
    random.seed(0)
    torch.manual_seed(0)
    assert candidates(0) == candidates(0)


def test_a_candidate_starts_from_new_weights():
    used, fresh = random_search(epochs=8), random_search(epochs=8)
    started = []
    for epoch in range(5):  # two candidates are trained, the third begins
        used.begin_epoch(epoch)
        started.append({name: value.clone() for name, value in used.supernet.state_dict().items()})
        if epoch < 4:
            for number in range(2):
                used.step(single(noise_batch(number)))
            used.end_epoch(epoch, 0.5)
    fresh.begin_epoch(4)
    for name, value in fresh.supernet.state_dict().items():  # including statistics, and weights that belong to no layer
        assert torch.equal(used.supernet.state_dict()[name], value), name
    assert not used.optimizer.state  # and no momentum
    assert not torch.equal(started[0]["layers.0.0.weight"], started[2]["layers.0.0.weight"])  # a new draw


def test_a_new_candidate_does_not_change_the_global_random_state():
    method = random_search()
    state = torch.get_rng_state()
    method.begin_epoch(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_candidates_get_equal_epochs_each_with_a_cosine_of_its_own():
    method, seen = random_search(epochs=7, each=3), []
    for epoch in range(7):
        method.begin_epoch(epoch)
        seen.append((method.candidate, method.optimizer.param_groups[0]["lr"]))
    rates = [0.05, 0.0375, 0.0125]
    assert [rate for _, rate in seen] == pytest.approx([*rates, *rates, 0.05])
    assert [len({c for c, _ in seen[i : i + 3]}) for i in (0, 3)] == [1, 1]
    assert seen[0][0] != seen[3][0]


@each_space
def test_only_the_candidate_is_trained(home):
    method = random_search(home)
    method.begin_epoch(0)
    before = {name: value.clone() for name, value in method.supernet.state_dict().items()}
    method.step(single(noise_batch(0)))
    columns, kinds = home.columns(method.candidate), method.supernet.kinds
    assert any(home.primitive(choice.op).learned for _, choices in method.candidate.cells for choice in choices)
    for name, value in method.supernet.state_dict().items():
        part = name.split(".")
        if part[2] == "ops" and columns[kinds[int(part[1])]][int(part[3])] != int(part[4]):
            assert torch.equal(value, before[name]), name
    for kind, row in columns.items():
        assert method.mix()[kind].active == tuple(() if k is None else (k,) for k in row)


@each_space
def test_the_best_candidate_at_the_end_of_its_training_is_kept(home):
    method = random_search(home, epochs=8)
    accuracies = [0.9, 0.3, 0.1, 0.6, 0.2, 0.6, 0.95, 0.5]  # only every second one counts; the first of equals is kept
    candidates = []
    for epoch, accuracy in enumerate(accuracies):
        method.begin_epoch(epoch)
        candidates.append(method.candidate)
        method.end_epoch(epoch, accuracy)
    assert len({candidates[1], candidates[3], candidates[5], candidates[7]}) == 4
    assert method.best == candidates[3]
    assert method.best_accuracy == 0.6
    assert home.derive({k: v.tolist() for k, v in method.op_scores().items()}) == candidates[3]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_random_search_resumes_in_the_middle_of_a_candidate_with_the_same_bits(stop):
    def run(method, begin, end):
        for epoch in range(begin, end):
            method.begin_epoch(epoch)
            for number in range(2):
                method.step(single(noise_batch(10 * epoch + number)))
            method.end_epoch(epoch, (0.3, 0.7, 0.2, 0.5)[epoch])

    whole, part, again = (random_search(epochs=4) for _ in range(3))
    run(whole, 0, 4)
    run(part, 0, stop)
    part.begin_epoch(stop)
    part.step(single(noise_batch(10 * stop)))
    file = io.BytesIO(saved(part))
    again.load_state_dict(torch.load(file, weights_only=True))
    again.step(single(noise_batch(10 * stop + 1)))
    again.end_epoch(stop, (0.3, 0.7, 0.2, 0.5)[stop])
    run(again, stop + 1, 4)
    assert saved(again) == saved(whole)


def test_a_search_of_fewer_epochs_than_a_candidate_has_trains_one_for_all_of_them():
    method, rates = random_search(epochs=2, each=7), []
    for epoch, accuracy in enumerate((0.2, 0.3)):
        method.begin_epoch(epoch)
        rates.append(method.optimizer.param_groups[0]["lr"])
        method.end_epoch(epoch, accuracy)
    assert rates == pytest.approx([0.05, 0.025])
    assert (method.best, method.best_accuracy) == (method.candidate, 0.3)


@pytest.mark.parametrize("each", [0, -1])
def test_a_candidate_has_an_epoch_at_least(each):
    with pytest.raises(UserError, match=f"setting epochs_each must be at least 1, not {each}"):
        random_search(epochs=6, each=each)


class Pulled(Differentiable):
    """Adds five times the sum of the alphas to the loss."""

    def loss(self, logits, y):
        return super().loss(logits, y) + 5 * sum(alpha.sum() for alpha in self.alphas.values())


@pytest.mark.parametrize("order", [1, 2])
def test_a_method_may_have_a_loss_of_its_own(order):
    config = DifferentiableConfig(regime="different_subset", activation="softmax", order=order)
    plain, pulled = make(RAGGED, config), make(RAGGED, config, kind=Pulled)
    batches = noise_batch(0), noise_batch(1)
    for alone, more in zip(plain.alpha_gradient(*batches), pulled.alpha_gradient(*batches), strict=True):
        torch.testing.assert_close(more, alone + 5)
    one = make(RAGGED, DifferentiableConfig(activation="softmax"), kind=Pulled)
    alphas = [alpha.detach().clone() for alpha in one.alphas.values()]
    loss = one.step({"weights": batches[0]})["loss"]
    torch.testing.assert_close(loss - 5 * sum(alpha.sum() for alpha in alphas), plain_loss(batches[0]))


def plain_loss(batch):
    plain = make(RAGGED, DifferentiableConfig(activation="softmax"))
    return F.cross_entropy(plain.supernet(batch.x, plain.mix()), batch.y).detach()


def test_no_promise_of_recording_is_inherited():
    assert Differentiable.capturable
    assert not Pulled.capturable
