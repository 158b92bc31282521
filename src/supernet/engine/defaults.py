"""PyTorch's own defaults for whatever the package computes, since a caller may have set others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch


class _Float32:
    """float32 as the type of new tensors, while at least one call is inside: the default is that of all threads."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.set_default_dtype(self._before)


_FLOAT32 = _Float32()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute in float32, on the CPU where no device is named, with gradients and without autocast.

    A notebook may have set other defaults at its top, and a call may stand within `torch.no_grad()` or
    `torch.autocast`; all of these come back at the end. The type of new tensors is one of the process, so that other
    threads have float32 as well meanwhile. As a decorator, `@plain_torch()`, it is for functions that compute.
    """
    with ExitStack() as stack:
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # such a context slows down every call of PyTorch
            stack.enter_context(torch.device("cpu"))
        with _FLOAT32, torch.inference_mode(False), torch.enable_grad():
            yield
