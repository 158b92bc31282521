"""Latency and memory of modules whose peak is known by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from supernet.engine import measure
from supernet.engine.measure import Latency, latency, seconds
from supernet.engine.peak_memory import peak_memory, peak_of

X = torch.randn(2, 3, 8, 8)
N = X.nbytes


class Of(nn.Module):
    """A module that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def residual(x: Tensor) -> Tensor:
    kept = x.relu()
    return kept + x.exp().sin()  # at the sine: x, kept, exp, sin


def two_after_one_another(x: Tensor) -> Tensor:
    a = x.exp()
    b = a.exp()
    del a
    return b.exp()


def held_by_a_view(x: Tensor) -> Tensor:
    part = x.exp()[:1, :1]  # keeps all of the exponential
    return x.sin().cos() + part


@pytest.mark.parametrize(
    ("function", "copies"),
    [
        (lambda x: x, 1),
        (lambda x: x.view(-1), 1),
        (lambda x: x.relu(), 2),
        (lambda x: x.exp_().sin_(), 1),
        (lambda x: x.relu().relu().relu().relu(), 3),
        (two_after_one_another, 3),
        (residual, 4),
        (held_by_a_view, 4),
        (lambda x: torch.cat([x, x, x]), 4),
        (lambda x: x.split(1)[0].exp(), 1.5),
        (lambda x: x.double(), 3),
    ],
)
def test_the_peak_of_functions_is_counted_by_hand(function: Callable[[Tensor], Tensor], copies: float) -> None:
    assert peak_memory(Of(function), X.clone()) == copies * N


def test_the_weights_do_not_count_and_every_layer_does() -> None:
    module = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Conv2d(12, 1, 1)).eval()
    assert peak_memory(module, X) == N + 4 * N + 4 * N  # the input; the convolution's and the norm's outputs
    linear = nn.Linear(8, 1000)  # whose weight is seen as a view, transposed
    assert peak_memory(linear, torch.randn(4, 8)) == 4 * (4 * 8 + 4 * 1000)


def test_what_was_alive_before_and_other_passes_do_not_count() -> None:
    kept = [torch.randn(1000) for _ in range(3)]
    assert [peak_memory(Of(torch.relu), X) for _ in range(3)] == [2 * N] * 3
    assert len(kept) == 3


CPU = torch.device("cpu")
LOSS = 4 + 4  # bytes of a loss and of its gradient


def exponentials(x: Tensor, count: int) -> Tensor:
    for _ in range(count):
        x = x.exp()
    return x


def test_a_backward_pass_counts_with_what_autograd_keeps_until_it_is_freed() -> None:
    weight = X.clone().requires_grad_()

    def step() -> None:
        weight.grad = None
        exponentials(weight, 10).sum().backward()

    # The weight, ten exponentials and a gradient; from there on each gradient takes the place of an exponential
    assert peak_of(step, CPU, [weight]) == 12 * N + LOSS
    found = peak_of(step, CPU, (tensor for tensor in (weight, weight.grad) if tensor is not None))
    assert found == 12 * N + LOSS  # the gradient there before is freed at once


def test_a_gradient_that_is_added_to_counts_beside_the_new_one() -> None:
    weight = X.clone().requires_grad_()
    weight.grad = torch.ones_like(weight)
    assert peak_of(lambda: weight.exp().sum().backward(), CPU, [weight, weight.grad]) == 4 * N + LOSS


def test_what_is_apart_never_counts_and_what_is_held_twice_counts_once() -> None:
    def work() -> None:
        X.view(-1).exp()
        kept.add_(1)

    kept = X.clone()
    assert peak_of(work, CPU, [kept, kept[:1], kept.view(-1)], [X]) == 2 * N
    assert peak_of(lambda: None, CPU, [kept]) == N


def test_a_storage_that_is_resized_counts_as_large_as_it_is() -> None:
    def work() -> None:
        kept.untyped_storage().resize_(10 * N)
        kept.add_(1)

    kept = X.clone()
    assert peak_of(work, CPU, [kept]) == 10 * N


def test_seconds_are_the_mean_of_what_is_done_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = itertools.count(step=6.0), []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    assert seconds(lambda: calls.append(0), CPU, 3) == 2.0
    assert len(calls) == 3


def test_the_median_is_of_the_passes_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.accumulate(
        # start and end of the five that warm up, the start of the limit, then start and end of each that counts
        itertools.chain([0.0, 9.0] * 5, [0.0], *([0.0, 0.0, ms / 1000] for ms in (0, 1, 2, 3, 10, 11, 12, 13, 14)))
    )
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(seconds))
    monkeypatch.setattr(measure, "_LEAST", 0)
    calls: list[bool] = []
    module = Of(lambda x: calls.append(torch.is_grad_enabled()) or x)  # type: ignore[func-returns-value]
    found = latency(module, X, repeats=9)
    assert found == Latency(2, pytest.approx(10), pytest.approx(2), pytest.approx(12), 9, torch.get_num_threads())
    assert calls == [False] * 14


def test_a_slow_module_is_passed_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=3.0)  # every look at the clock is three seconds later
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    found = latency(Of(torch.relu), X)
    assert (found.repeats, found.median) == (5, 3000)
