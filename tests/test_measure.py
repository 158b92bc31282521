"""Latency and memory of modules whose peak is known by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from supernet import measure
from supernet.measure import Latency, latency, peak_memory

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
