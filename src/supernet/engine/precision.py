"""Precision: the number format of convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch

from supernet.errors import UserError

Precision = Literal["float32", "tf32", "bf16"]
"""float32; float32 with products in TF32, on GPUs of compute capability 8.0 or more; or bfloat16 by autocast."""


def precision_named(name: Literal["auto", Precision], device: torch.device) -> Precision:
    """Return the precision called `name`; "auto" is TF32 if `device` has it, and float32 otherwise.

    Raises UserError for TF32 on a device without it.
    """
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "auto":
        return "tf32" if has_tf32 else "float32"
    if name == "tf32" and not has_tf32:
        raise UserError(f"precision tf32 needs a GPU of compute capability 8.0 or more, not '{device}'")
    return name


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Compute float32 products on GPUs in TF32 or not, as `precision` says, in the whole process.

    The caller's settings are restored at the end.
    """
    switches, (off, on) = _switches()
    before = [getattr(*switch) for switch in switches]
    try:
        for switch in switches:
            setattr(*switch, on if precision == "tf32" else off)
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            setattr(*switch, value)


def _switches() -> tuple[list[tuple[Any, str]], tuple[Any, Any]]:
    """Return PyTorch's switches for products, as owner and attribute, and their values without and with TF32.

    Each switch has an old and a new name. A value set by the new name cannot be read by the old one.
    """
    backends: Any = torch.backends  # some attributes are set at run time and have no type
    switches = [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]
    try:
        for switch in switches:
            getattr(*switch)
    except RuntimeError:
        newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [(owner, "fp32_precision") for owner in newer], ("ieee", "tf32")
    return switches, (False, True)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return the context for a forward pass; for "bf16" the outputs may be bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
