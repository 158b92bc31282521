"""Precision: the number format that the big operations of a network run in, and the automatic choice of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, get_args

import torch

from supernet.errors import UserError, unknown

Precision = Literal["float32", "tf32", "bf16"]
"""float32 throughout; float32 with products in TF32, on a GPU of compute capability 8; or bfloat16 by autocast."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_named(name: str, device: torch.device) -> Precision:
    """Return the precision of that name, and for "auto" TF32 where `device` has it, float32 elsewhere.

    Raises UserError for a name that is none, and for TF32 where there is none.
    """
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "auto":
        return "tf32" if has_tf32 else "float32"
    for known in PRECISIONS:
        if name == known:
            if known == "tf32" and not has_tf32:
                raise UserError(f"precision tf32 needs a GPU of compute capability 8.0 or more, not '{device}'")
            return known
    raise unknown("precision", name, ["auto", *PRECISIONS])


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Let the float32 products on GPUs be TF32 or not, as `precision` says, in the whole process and until the end.

    Afterwards they are what the caller had.
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
    """Return PyTorch's switches for products, as owner and name, and what they are set to for no TF32 and for TF32.

    They have an older name and a newer one; what was set by the newer cannot be read by the older.
    """
    backends: Any = torch.backends  # some are made when PyTorch is imported, and no type tells of them
    switches = [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]
    try:
        for switch in switches:
            getattr(*switch)
    except RuntimeError:
        newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [(owner, "fp32_precision") for owner in newer], ("ieee", "tf32")
    return switches, (False, True)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return the context in which a forward pass runs; its outputs may be bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
