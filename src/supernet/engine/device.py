"""Devices by name, and their descriptions."""

from __future__ import annotations

import torch

from supernet.errors import UserError


def device_named(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the GPU if there is one. Raises UserError for an unusable device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise UserError(f"device '{name}' cannot be used here: expected auto, cpu, cuda, cuda:1, ...") from None
    try:
        torch.zeros(1, device=device).item()  # fails on devices without values, such as meta
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' cannot be used here: {str(error).splitlines()[0]}") from None
    return device


def described(device: torch.device) -> str:
    """Return a description of a device: the CPU with the number of threads, a GPU with its model."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"cpu with {threads} thread{'s' if threads != 1 else ''}"
