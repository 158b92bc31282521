"""Seeds: a seed of its own for everything that draws, and drawing without moving the caller's random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_CPU = torch.device("cpu")


def seed_of(seed: int, name: str) -> int:
    """Return the seed of the thing called `name` in a run of that `seed`."""
    return random.Random(f"{seed} {name}").getrandbits(62)


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Draw from `seed` on the CPU and on `device`; afterwards the random state of both is the caller's again."""
    with random_state_kept(device):
        torch.manual_seed(seed)
        yield


@contextmanager
def random_state_kept(device: torch.device = _CPU) -> Iterator[None]:
    """Restore the random state of the CPU and of `device` at the end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
