"""What each C kernel earns: a search step with all kernels against the same step with one of them left to PyTorch.

    python benchmarks/kernels.py [--rounds 15]

The kernels are the weighted sum of normalised values, the gradient of depthwise weights, and average pooling. All sides
live in one process and take turns; a ratio is taken in every round. Each kernel is also timed alone, forward and
backward, on one value of the step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor, nn

from sides import HEAD, milliseconds, row, table, take_turns, where
from speed import FUSED, Case, Dense
from supernet.engine.memory import keep_freed_memory
from supernet.models.fused import Normal, Term, average, convolutions, convolve, native, weighted_sums

KERNELS = ("weighted sum", "depthwise", "average pooling")
CASES = (
    Case("nasbench201", 16, 1, 16),
    Case("nasbench201", 8, 1, 16),
    Case("darts", 16, 1, 32),
)
_CPU = torch.device("cpu")


@contextmanager
def without(kernels: Sequence[str]) -> Iterator[None]:
    """Leave these kernels to PyTorch."""
    skipped = {1: "average pooling" in kernels, 2: "depthwise" in kernels}  # by how many tensors each kernel takes

    def takes(*tensors: Tensor) -> bool:
        return not skipped[len(tensors)] and native.takes(*tensors)

    windows = SimpleNamespace(**vars(native) | {"takes": takes})
    with ExitStack() as stack:
        stack.enter_context(patch.object(convolutions, "native", windows))
        if "weighted sum" in kernels:
            stack.enter_context(patch.object(native, "usable", lambda *_: False))
        yield


def sides(work: Callable[[], object], budget: float) -> dict[str, Callable[[], float]]:
    """Return what times `work` with all kernels, without each, and without any."""

    def timed(left: Sequence[str]) -> float:
        with without(left):
            return milliseconds(work, _CPU, budget)  # type: ignore[arg-type]

    return {"all": partial(timed, ()), "none": partial(timed, KERNELS)} | {k: partial(timed, (k,)) for k in KERNELS}


def alone(case: Case) -> dict[str, Callable[[], Tensor]]:
    """Return each kernel's work, forward and backward, on values (64, C, side, side) of the first stage."""
    x = FUSED.lay(torch.randn(case.batch, case.width, case.size, case.size)).requires_grad_()
    norm, weights = Normal(True, 1e-5, 0.1), torch.rand(2, requires_grad=True)
    kernel = torch.randn(case.width, 1, 5, 5, requires_grad=True)
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def back(y: Tensor) -> Tensor:
        y.backward(y.detach())
        return y.detach()

    return {
        "weighted sum": lambda: back(weighted_sums([Term(x * 1, 1, (0, 0), (0, 0), norm)], weights, [None])[0]),
        "depthwise": lambda: back(convolve(x, kernel, None, (1, 1), (2, 2), (1, 1), case.width)),
        "average pooling": lambda: back(average(x, pool)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of one measurement")
    given = parser.parse_args()
    keep_freed_memory()
    rows = []
    for case in CASES:
        step, batch = Dense(case, FUSED), FUSED.images(case)
        times = take_turns(sides(lambda s=step, b=batch: s(b), given.budget), given.rounds)  # type: ignore[misc]
        rows += [row(f"step, {case.title}", times, f"{name}", "all") for name in (*KERNELS, "none")]
        for name, work in alone(case).items():
            times = take_turns({k: v for k, v in sides(work, given.budget).items() if k in (name, "all")}, given.rounds)
            rows.append(row(f"alone, {case.title}", times, name, "all"))
    print(where())
    print("`first` is the time without the kernel that is named, `second` that with all of them, in milliseconds.\n")
    print(table(rows, ("what", "without / with all", *HEAD[2:-1], "")))


if __name__ == "__main__":
    main()
