"""PyTorch's own defaults for whatever the package computes, since a caller may have set others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from threading import Lock

import torch


class _Float32:
    """float32 as the type of new tensors, while at least one thread wants it: the default is that of all threads."""

    def __init__(self) -> None:
        self._lock, self._threads, self._before = Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                torch.set_default_dtype(self._before)


_FLOAT32 = _Float32()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute in float32, with tensors that are made on the CPU, and with gradients, and restore the caller's defaults.

    A notebook may have set others at its top, and a call may stand within `torch.no_grad()` or `torch.autocast`. As a
    decorator, `@plain_torch()`, it is for functions that compute.
    """
    elsewhere = torch.get_default_device().type != "cpu"  # the context of a device slows down every call of PyTorch
    with ExitStack() as stack:
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.device("cpu") if elsewhere else nullcontext())
        with _FLOAT32, torch.inference_mode(False), torch.enable_grad():
            yield
