"""Devices: the one of a name, and what a device is called."""

from __future__ import annotations

import torch

from supernet.errors import UserError


def device_named(name: str) -> torch.device:
    """Return the device of that name, the GPU if there is one for "auto"; raises UserError if it cannot be used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # devices without values, as meta, cannot do that
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' cannot be used here: {str(error).splitlines()[0]}") from None
    return device


def described(device: torch.device) -> str:
    """Return what a device is called: the CPU with its threads, a GPU with its model."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"cpu with {threads} thread{'s' if threads != 1 else ''}"
