"""Peak memory: the largest number of bytes that the tensors of a piece of work take at one time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from supernet.engine.observer import Observer


@torch.no_grad()
def peak_memory(module: nn.Module, x: Tensor) -> int:
    """Return the peak bytes of a forward pass for the batch `x`, with `x` and without the weights; see `peak_of`."""
    if x.device.type == "cuda":
        module(x)  # libraries allocate what they keep in the first pass
    return peak_of(lambda: module(x), x.device, [x], (*module.parameters(), *module.buffers()))


def peak_of_process() -> int | None:
    """Return the most bytes of memory that this process has had so far; None where the system does not tell."""
    with suppress(OSError):  # what the system counts for a process begins with that of the one which started it
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak_of_process() -> None:
    """Let `peak_of_process` tell of what comes from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def shareable_of_process() -> int:
    """Return the bytes of files mapped into this process, which processes that map the same files have in common.

    These are 0 where the system does not tell.
    """
    with suppress(OSError):
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE))
        return 1024 * (int(sizes["Rss"]) - int(sizes["Anonymous"]))
    return 0


def peak_of(
    work: Callable[[], object], device: torch.device, held: Iterable[Tensor], excluded: Iterable[Tensor] = ()
) -> int:
    """Return the peak bytes of the tensors in `held` and of those that `work` makes.

    The tensors in `held` exist before and count while they are alive; pass an iterator if `work` frees some of them, as
    a list would keep them alive. The tensors in `excluded` and their views never count. Tensors that autograd saves
    count until it frees them.

    On a GPU the peak is the allocator's, which includes the work space of operations. On the CPU it is that of the
    storages that operations return, which leaves out memory used within an operation.
    """
    if device.type == "cuda":
        return _peak_of_allocator(work, device, held)
    storages = _Storages(held, excluded)
    with storages:
        work()
    return storages.peak


def _peak_of_allocator(work: Callable[[], object], device: torch.device, held: Iterable[Tensor]) -> int:
    sizes = {storage._cdata: storage.nbytes() for storage in (tensor.untyped_storage() for tensor in held)}
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    peak: int = torch.cuda.max_memory_allocated(device)
    return peak - before + sum(sizes.values())


class _Storages(Observer):  # type: ignore[no-untyped-call]
    """Follows the storages of `held`, and those that operations return except `excluded`, while they are alive."""

    def __init__(self, held: Iterable[Tensor], excluded: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._excluded = {tensor.untyped_storage()._cdata for tensor in excluded}
        self._alive: dict[int, tuple[object, int]] = {}  # by address: a weak reference, and the bytes
        self._bytes = self.peak = 0
        self._add(list(held))

    def see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Follow the storages of the output."""
        self._add(out)

    def _add(self, tree: Any) -> None:
        for tensor in tree_leaves(tree):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._excluded:
                    self._follow(storage._cdata, storage)
        self.peak = max(self.peak, self._bytes)

    def _follow(self, address: int, storage: torch.UntypedStorage) -> None:
        end, before = self._alive.get(address, (None, 0))
        if end is None:
            end = ref(storage, lambda _: self._remove(address))
        self._alive[address] = end, storage.nbytes()
        self._bytes += storage.nbytes() - before  # an operation may have resized it

    def _remove(self, address: int) -> None:
        self._bytes -= self._alive.pop(address)[1]
