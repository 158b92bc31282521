"""Measure: how long a forward pass takes, and how much memory it needs, on the device where the module lies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

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
        _timed(module, x)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < repeats and (len(times) < _LEAST or time.perf_counter() < end):
        times.append(_timed(module, x))
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(len(x), median, low, high, len(times), torch.get_num_threads())


def _timed(module: nn.Module, x: Tensor) -> float:
    """Return the milliseconds of one pass; a GPU is waited for, before and after."""
    _wait(x.device)
    start = time.perf_counter()
    module(x)
    _wait(x.device)
    return 1000 * (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def peak_memory(module: nn.Module, x: Tensor) -> int:
    """Return the bytes of all tensors, `x` among them but not the weights, when a forward pass needs most.

    On a GPU it is what the allocator hands out, so that an operation's work space counts; on the CPU the storages that
    operations return are followed, and what they need within themselves is not seen.
    """
    if x.device.type == "cuda":
        return _peak_of_allocator(module, x)
    storages = _Storages(x, (*module.parameters(), *module.buffers()))
    with storages:
        module(x)
    return storages.peak


def _peak_of_allocator(module: nn.Module, x: Tensor) -> int:
    module(x)  # libraries allocate what they keep in the first pass
    torch.cuda.synchronize(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    before = torch.cuda.memory_allocated(x.device)
    module(x)
    peak: int = torch.cuda.max_memory_allocated(x.device)
    return peak - before + x.untyped_storage().nbytes()


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations return for as long as they are alive, except those of the weights."""

    def __init__(self, x: Tensor, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._alive: MutableMapping[object, int] = WeakIdKeyDictionary()
        self.peak = 0
        self._see(x)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._see(out)
        return out

    def _see(self, out: Any) -> None:
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._weights:
                storage = tensor.untyped_storage()
                self._alive[storage] = storage.nbytes()
        self.peak = max(self.peak, sum(self._alive.values()))
