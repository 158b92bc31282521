"""FlopCounter: counts the FLOPs of all operations that run in a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
_FORMULAS = flop_registry | {  # attention on a CPU is an operation of its own, which the registry lacks
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_aten._scaled_dot_product_flash_attention]
}


class _Counting:
    total: int = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)  # type: ignore[attr-defined]
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class FlopCounter(_Counting, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts in `total`, by the formulas of `torch.utils.flop_counter`: two FLOPs for each multiply-add.

    PyTorch's own counter imports torch._dynamo, which takes seconds, as does every mode whose class body itself has a
    `__torch_dispatch__`; here the method is inherited.
    """
