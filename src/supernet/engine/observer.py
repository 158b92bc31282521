"""Observer: the base of what sees every operation that PyTorch runs in a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class _Dispatch:
    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.see(func, args, kwargs or {}, out)
        return out

    def see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Take note of one operation, its arguments and its output."""
        raise NotImplementedError


class Observer(_Dispatch, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls `see` after every operation; a subclass defines it.

    PyTorch wraps a `__torch_dispatch__` that is defined in the class itself so that the first operation imports
    torch._dynamo, which takes seconds. An inherited one is not wrapped.
    """
