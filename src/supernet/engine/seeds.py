"""Seeds: a separate one for each purpose, and contexts that restore the caller's random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_CPU = torch.device("cpu")
_ONE = RLock()  # held by the thread whose random numbers are drawn


def seed_of(seed: int, name: str) -> int:
    """Return the seed for the purpose `name` in a run with seed `seed`."""
    return random.Random(f"{seed} {name}").getrandbits(62)


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed the generators of the CPU and `device`, and restore the caller's random state at the end."""
    with random_state_kept(device):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` seeds all GPUs, which nobody restores
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def random_state_kept(device: torch.device = _CPU) -> Iterator[None]:
    """Restore the random state of the CPU and `device` at the end.

    Another thread of this process waits meanwhile, as the random state is that of all threads.
    """
    with _ONE, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
