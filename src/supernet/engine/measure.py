"""Measure: how long work takes and how much memory it needs, on the device where it is done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WARM_UP = 5  # passes before the first that counts
_LEAST = 5  # passes that count, however slow they are
_SECONDS = 10.0  # after which no further pass is begun


@dataclass(frozen=True)
class Latency:
    """How long one forward pass takes: half of the `repeats` passes took between `low` and `high`."""

    batch: int  # images in the pass
    median: float  # milliseconds
    low: float
    high: float
    repeats: int
    threads: int  # of PyTorch, on the CPU


@torch.no_grad()
def latency(module: nn.Module, x: Tensor, *, repeats: int = 50) -> Latency:
    """Time forward passes of `module` on the batch `x`, (B, ...), where both lie; after 5 passes to warm up.

    A slow module is passed less often: none is begun after ten seconds, but there are always 5.
    """
    for _ in range(_WARM_UP):
        _milliseconds(partial(module, x), x.device)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < repeats and (len(times) < _LEAST or time.perf_counter() < end):
        times.append(_milliseconds(partial(module, x), x.device))
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(len(x), median, low, high, len(times), torch.get_num_threads())


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Return the mean seconds that `work` takes when it is done `repeats` times in a row."""

    def often() -> None:
        for _ in range(repeats):
            work()

    return _milliseconds(often, device) / 1000 / repeats


def _milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds that `work` takes; a GPU is waited for, before and after."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return 1000 * (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def peak_memory(module: nn.Module, x: Tensor) -> int:
    """Return the bytes of all tensors, `x` among them but not the weights, when a forward pass needs most.

    See `peak_of` for what is seen.
    """
    if x.device.type == "cuda":
        module(x)  # libraries allocate what they keep in the first pass
    return peak_of(lambda: module(x), x.device, [x], (*module.parameters(), *module.buffers()))


def peak_of(
    work: Callable[[], object], device: torch.device, held: Iterable[Tensor], apart: Iterable[Tensor] = ()
) -> int:
    """Return the bytes of all tensors at the moment of `work` when they are most: of `held` and of those that it makes.

    `held` are there before, and count for as long as they are alive: give an iterator of those that `work` frees, since
    a list would keep them. `apart` never count, nor do views of them. What autograd keeps counts until it is freed.

    On a GPU it is what the allocator hands out, so that an operation's work space counts; on the CPU the storages that
    operations return are followed, and what they need within themselves is not seen.
    """
    if device.type == "cuda":
        return _peak_of_allocator(work, device, held)
    storages = _Storages(held, apart)
    with storages:
        work()
    return storages.peak


def _peak_of_allocator(work: Callable[[], object], device: torch.device, held: Iterable[Tensor]) -> int:
    known = {storage._cdata: storage.nbytes() for storage in (tensor.untyped_storage() for tensor in held)}
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    peak: int = torch.cuda.max_memory_allocated(device)
    return peak - before + sum(known.values())


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows storages while they are alive: those `held` and those that operations return, but not those `apart`."""

    def __init__(self, held: Iterable[Tensor], apart: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self._alive: dict[int, tuple[object, int]] = {}  # by address: what tells of its end, and its bytes
        self._now = self.peak = 0
        self._see(list(held))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._see(out)
        return out

    def _see(self, out: Any) -> None:
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._apart:
                    self._follow(storage._cdata, storage)
        self.peak = max(self.peak, self._now)

    def _follow(self, address: int, storage: torch.UntypedStorage) -> None:
        end, known = self._alive.get(address, (None, 0))
        if end is None:
            end = ref(storage, lambda _: self._forget(address))
        self._alive[address] = end, storage.nbytes()
        self._now += storage.nbytes() - known  # it may have been resized

    def _forget(self, address: int) -> None:
        self._now -= self._alive.pop(address)[1]
