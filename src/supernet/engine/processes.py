"""What the processes of a group send each other: each learns from its share of every batch.

Gradients, metrics and running statistics are averaged over them by one all-reduce of one flat tensor, so that weights,
alphas and decisions stay the same bits in all of them. The first process alone reads and writes the run folder and
talks to the user. In a single process nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from supernet.data import Batch
from supernet.engine.process_group import alone, count, number
from supernet.engine.seeds import random_state_kept, seed_of, seeded
from supernet.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def by_first(call: Callable[P, T]) -> Callable[P, T]:
    """Let the first process alone make the call, for all: each gets its result, or the UserError that it raises.

    All processes have to call it. The first one's random state stays as it is.
    """

    @wraps(call)
    def once(*arguments: P.args, **more: P.kwargs) -> T:
        if count() == 1:
            return call(*arguments, **more)
        found: list[Any] = [None]
        if number() == 0:
            try:
                with alone(), random_state_kept():
                    found = [call(*arguments, **more)]
            except UserError as error:
                found = [error]
        dist.broadcast_object_list(found, 0, device=torch.device("cpu"))
        if isinstance(found[0], UserError):
            raise found[0]
        result: T = found[0]
        return result

    return once


def gathered(value: T) -> list[T]:
    """Return the values of all processes, in their order."""
    if count() == 1:
        return [value]
    found: list[Any] = [None] * count()
    dist.all_gather_object(found, value)
    return found


def spread(items: Sequence[T], compute: Callable[[Sequence[T]], Tensor]) -> Tensor:
    """Return `compute(items)`, a row for each item; every process computes those of its share of the items alone.

    With several processes the rows are float64 on the CPU.
    """
    if count() == 1:
        return compute(items)
    own = items[number() :: count()]
    with own_draws(), alone():
        result = compute(own).tolist() if own else []
    return torch.tensor(dealt(gathered(result)), dtype=torch.float64)


def dealt(shares: Sequence[Sequence[T]]) -> list[T]:
    """Return the items of which process n of N has every N-th from number n on, in order."""
    return [shares[at % len(shares)][at // len(shares)] for at in range(sum(map(len, shares)))]


def largest(*values: int) -> list[int]:
    """Return the largest of each value over all processes, without waiting for a GPU."""
    if count() == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.int64)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def share(batch: Batch) -> Batch:
    """Return the images of a batch that this process learns from: every `count()`-th."""
    if count() == 1:
        return batch
    x, y, index = (part[number() :: count()] for part in batch)
    return Batch(x.contiguous(memory_format=torch.channels_last), y, index)


def check_share(images: int) -> None:
    """Raise UserError if batches of so many images cannot be divided into equal shares."""
    if images % count():
        less = images - images % count()
        near = f"{less} or {less + count()}" if less else str(count())
        raise UserError(f"{count()} processes cannot share a batch of {images} images equally: try --batch-size {near}")


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their means over all processes, in place, by one message for each dtype and device."""
    if count() == 1:
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for parts in groups.values():
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        flat /= count()
        for part, mean in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(mean.view(part.shape))


def averaged(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the means of tensors over all processes, such as gradients of `torch.autograd.grad`."""
    if count() == 1:
        return tuple(tensors)
    means = tuple(tensor.detach().clone() for tensor in tensors)
    average(means)
    return means


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradient)  # type: ignore[no-untyped-call]
        return total


def stacked(tensor: Tensor) -> Tensor:
    """Return the tensors of all processes, (N, ...), with derivatives of any order.

    A derivative in one process is that of the sum of all processes' losses, so that their mean is that of the mean
    loss. All processes have to call this, and to take the derivative.
    """
    rows = [tensor if row == number() else torch.zeros_like(tensor) for row in range(count())]
    all_rows: Tensor = _Sum.apply(torch.stack(rows))  # type: ignore[no-untyped-call]
    return all_rows


def average_gradients(parameters: Callable[[], Iterable[Tensor]]) -> None:
    """Replace the gradients that a backward pass has left by their means over all processes."""
    if count() > 1:
        average([parameter.grad for parameter in parameters() if parameter.grad is not None])


def average_statistics(module: nn.Module) -> None:
    """Replace the running statistics of batch norm by their means over all processes."""
    if count() > 1:
        average([buffer for buffer in module.buffers() if buffer.is_floating_point()])


def check_alike(learned: Callable[[], object]) -> None:
    """Raise UserError if what a search has learned is not the same in all processes."""
    if count() > 1 and len(set(map(str, gathered(learned())))) > 1:
        raise UserError(
            "the processes have learned different things: a method must draw random numbers from its budget's seed, "
            "and pass gradients of its own, and losses that it learns from, through supernet.engine.processes.averaged"
        )


@contextmanager
def own_draws() -> Iterator[None]:
    """Let random operations draw other numbers in every process; afterwards the random state is the same in all."""
    if count() == 1:
        yield
        return
    seed = int(torch.randint(2**62, ()))  # from the state that all processes have in common
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with seeded(seed_of(seed, f"process {number()}"), device):
        yield
