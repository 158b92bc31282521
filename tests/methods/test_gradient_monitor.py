from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from supernet.data import Augment, Batches, Images
from supernet.engine.optim import SGDConfig
from supernet.methods.base import Budget, Method, NoConfig
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.methods.gradient_monitor import GradientMonitor
from supernet.methods.single_path import RSPS
from supernet.models.mix import EdgeMix
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stack
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES

NB201, _, TWO, *_ = EXAMPLE_SPACES
_CELL = Cell.dense(4, ("sep_conv_3x3", "skip_connect"), inputs=2, output="concat", keep=2, project=True)
PROJECTING = SearchSpace("projecting", {"normal": _CELL, "reduce": _CELL}, Stack())


def make(regime: str, home: SearchSpace = NB201) -> tuple[Differentiable, dict[str, Batches]]:
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    config = DifferentiableConfig(regime=regime, activation="softmax")  # type: ignore[arg-type]
    method = Differentiable(config, supernet, Budget(epochs=3, weights=SGDConfig(), seed=0))
    y = torch.arange(48) % 3
    x = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8)
    images = Images.of("noise", (x, y), ("a", "b", "c"))
    halves = {"weights": torch.arange(24), "alpha": torch.arange(24, 48)}
    return method, {n: Batches(images, halves[n], 12, Augment(), seed=3) for n in method.streams}


def watched_step(method: Method, monitor: GradientMonitor, batches: dict[str, object]) -> None:
    monitor.before(batches)
    method.step(batches)
    monitor.after()


def draw(streams: dict[str, Batches]) -> dict[str, object]:
    batches = {name: stream.next() for name, stream in streams.items()}
    return {name: batch._replace(x=batch.x.double()) for name, batch in batches.items()}


def cell_weights(method: Differentiable) -> list[torch.Tensor]:
    return [w for layer in method.supernet.layers if isinstance(layer, MixedCell) for w in layer.ops.parameters()]


def gradient(method: Differentiable, batch) -> torch.Tensor:
    loss = F.cross_entropy(method.supernet(batch.x, method.mix()), batch.y)
    found = torch.autograd.grad(loss, cell_weights(method), materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


@pytest.mark.parametrize("home", [NB201, PROJECTING], ids=lambda home: home.name)
def test_correlation_is_the_inner_product_of_the_two_batches_gradients(home: SearchSpace) -> None:
    """The inputs of a cell may pass convolutions, whose weights are not those of candidates."""
    method, streams = make("different_subset", home)
    monitor = GradientMonitor(method, every=1)
    watched_step(method, monitor, draw(streams))
    previous = torch.cat([w.grad.flatten() for w in cell_weights(method)])
    batches = draw(streams)
    monitor.before(batches)
    found = monitor.end_epoch(0)
    judging, acting = gradient(method, batches["alpha"]), gradient(method, batches["weights"])
    assert found["correlation"] == pytest.approx((judging @ acting).item(), rel=1e-9)
    assert found["correlation_lag1"] == pytest.approx(F.cosine_similarity(judging, previous, dim=0).item(), rel=1e-9)


def test_single_level_correlation_is_the_squared_norm() -> None:
    method, streams = make("same_batch")
    monitor = GradientMonitor(method, every=1)
    watched_step(method, monitor, draw(streams))
    batches = draw(streams)
    monitor.before(batches)
    assert monitor.end_epoch(0)["correlation"] == pytest.approx(
        gradient(method, batches["weights"]).square().sum().item()
    )


@pytest.mark.parametrize("home", [NB201, TWO], ids=lambda home: home.name)
@pytest.mark.usefixtures("still_noise")
def test_operator_gradient_is_that_of_the_last_cell_alone(home: SearchSpace) -> None:
    method, streams = make("same_batch", home)
    monitor = GradientMonitor(method, every=1)
    watched_step(method, monitor, draw(streams))
    batch = draw(streams)["weights"]
    monitor.before({"weights": batch})
    found = monitor.end_epoch(0)

    own, outputs, kinds = None, [], method.supernet.kinds  # one cell after another
    number_of_last = max(i for i, layer in enumerate(method.supernet.layers) if isinstance(layer, MixedCell))
    for number, (layer, kind) in enumerate(zip(method.supernet.layers, kinds, strict=True)):
        if kind is None:
            outputs.append(layer(outputs[-1] if outputs else batch.x))
            continue
        weights = method.mix()[kind].weights.detach().clone().requires_grad_()
        own = weights if number == number_of_last else own
        before = [outputs[max(0, number - len(layer.inputs) + i)] for i in range(len(layer.inputs))]
        outputs.append(layer(before, EdgeMix(weights)))
    (by_hand,) = torch.autograd.grad(F.cross_entropy(outputs[-1], batch.y), own)
    ops = home.cells[kinds[number_of_last]].edges[0].ops
    for column, op in enumerate(ops):
        assert found[f"gradient of {op}"] == pytest.approx(by_hand[:, column].mean().item(), rel=1e-9, abs=1e-15)
    assert {name for name in found if name.startswith("gradient of ")} == {f"gradient of {op}" for op in ops}
    assert found["gradient of none"] == 0
    assert found[f"gradient of {'nor_conv_3x3' if home is NB201 else 'sep_conv_3x3'}"] != 0


def test_the_gradient_of_an_operator_on_a_path_is_the_same_in_both_engines() -> None:
    """A path skips the multiplication by its op weights, which are 1, but not where their gradient is asked for."""
    found = []
    for engine in ("fused", "reference"):
        dense, streams = make("same_batch")
        method = RSPS(NoConfig(), dense.supernet, dense.budget)
        method.supernet.engine = engine
        monitor = GradientMonitor(method, every=1)
        watched_step(method, monitor, draw(streams))
        monitor.before(draw(streams))
        found.append(monitor.end_epoch(0))
    assert found[0] == pytest.approx(found[1], rel=1e-9, abs=1e-15)
    assert any(value for name, value in found[0].items() if name.startswith("gradient of "))


def test_it_measures_every_so_many_steps_and_changes_nothing() -> None:
    watched, streams = make("different_subset")
    alone, others = make("different_subset")
    monitor = GradientMonitor(watched, every=3)
    counts = []
    for _ in range(7):
        watched_step(watched, monitor, draw(streams))
        counts.append(monitor.count)
        alone.step(draw(others))
    assert counts == [0, 0, 0, 1, 1, 1, 2]
    for name, value in watched.supernet.state_dict().items():
        assert torch.equal(value, alone.supernet.state_dict()[name]), name
    assert torch.equal(watched.alphas["cell"], alone.alphas["cell"])


def test_it_resumes_from_its_state() -> None:
    first, streams = make("different_subset")
    monitor = GradientMonitor(first, every=1)
    for _ in range(2):
        watched_step(first, monitor, draw(streams))
    state = monitor.state_dict()
    again = GradientMonitor(first, every=1)
    again.load_state_dict(state)
    batches = draw(streams)
    monitor.before(batches)
    again.before(batches)
    assert again.end_epoch(0) == monitor.end_epoch(0)


class EveryOtherStep(RSPS):
    """Trains another network than the supernet in every second step."""

    turns = 0

    def step(self, batches):
        self.turns += 1
        return super().step(batches) if self.turns % 2 else {}


def test_a_step_that_trains_another_network_leaves_no_gradient_to_compare() -> None:
    dense, streams = make("same_batch")
    method = EveryOtherStep(NoConfig(), dense.supernet, dense.budget)
    monitor, kept = GradientMonitor(method, every=1), []
    for _ in range(4):
        watched_step(method, monitor, draw(streams))
        kept.append(monitor.previous is not None)
    assert kept == [True, False, True, False]


def test_a_step_that_is_replayed_leaves_its_gradient_to_compare() -> None:
    """As a CUDA graph does: it writes new values into the same tensors."""
    method, streams = make("same_batch")
    monitor = GradientMonitor(method, every=1)
    watched_step(method, monitor, draw(streams))
    batches = draw(streams)
    monitor.before(batches)
    for weight in cell_weights(method):
        weight.grad.mul_(0.5)
    monitor.after()
    assert monitor.previous is not None
    assert all(torch.equal(a, b.grad) for a, b in zip(monitor.previous, cell_weights(method), strict=True))
