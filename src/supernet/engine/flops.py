"""FlopCounter: counts the FLOPs of all operations that run in a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from supernet.engine.observer import Observer

_aten = torch.ops.aten
_FORMULAS = flop_registry | {  # attention on a CPU is an operation of its own, which the registry lacks
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_aten._scaled_dot_product_flash_attention]
}


class FlopCounter(Observer):  # type: ignore[no-untyped-call]
    """Counts in `total`, by the formulas of PyTorch's own FlopCounterMode: two FLOPs for each multiply-add."""

    total: int = 0

    def see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Count one operation."""
        formula = _FORMULAS.get(func._overloadpacket)  # type: ignore[attr-defined]
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
