"""Random generators: which are seeded, and which the caller finds again as they were."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch

from supernet.engine.seeds import seeded


def test_a_seed_decides_the_numbers_within_and_none_after():
    torch.manual_seed(1)
    after = torch.rand(3)
    torch.manual_seed(1)
    with seeded(7):
        within = torch.rand(3)
    assert torch.equal(torch.rand(3), after)
    torch.manual_seed(7)
    assert torch.equal(within, torch.rand(3))


@pytest.mark.parametrize(("device", "expected"), [("cpu", []), ("cuda:1", [("cuda:1", 7)])])
def test_no_gpu_is_seeded_but_the_one_whose_state_is_restored(device, expected, monkeypatch):
    inside, found = [], []
    monkeypatch.setattr(torch.cuda, "device", lambda gpu: nullcontext(inside.append(str(gpu))))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: found.append((inside[-1], seed)))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: found.append(("all", seed)))
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
    state = torch.get_rng_state()
    with seeded(7, torch.device(device)):
        assert found == expected
    torch.set_rng_state(state)


def test_what_two_threads_run_follows_one_another_as_random_numbers_are_those_of_both():
    begun, drawn, both = {3: threading.Event(), 4: threading.Event()}, {}, threading.Event()

    def draw(seed, other):
        with seeded(seed):
            begun[seed].set()
            begun[other].wait(0.5)
            drawn[seed] = torch.rand(2)
            both.wait(0.5)  # until the other one has drawn, too, or cannot before this one has ended

    threads = [threading.Thread(target=draw, args=seeds) for seeds in ((3, 4), (4, 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == [3, 4]
    for seed, numbers in drawn.items():
        assert torch.equal(numbers, torch.rand(2, generator=torch.Generator().manual_seed(seed)))
