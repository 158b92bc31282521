"""The forward-backward passes of a search, counted whatever its method, and those of a selection."""

from __future__ import annotations

import pytest

import supernet as sn
from supernet.engine.loop import LazyBatches
from supernet.engine.seeds import seeded
from supernet.searching import results
from supernet.searching.passes import Passes
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask
from supernet.testing import PairDataset, tiny_images

STEPS = 2 * 2  # epochs x batches of 6 of 12 training images
TINY = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "quiet": True}

LOOKAHEAD = {"warmup": 0, "every": 1, "samples": 1, "steps": 2, "inner_batch": 2}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


def data():
    return PairDataset(tiny_images(24))


@pytest.mark.parametrize(
    ("method", "more", "each"),
    [
        ("single-darts", {}, 1),
        ("single-darts", {"monitor": "gradients", "monitor_every": 1}, 1),  # what only measures does not count
        ("darts", {}, 2),
        ("darts-2nd", {}, 5),
        ("sdarts-adv", {"ascent": 3}, 5),
        ("random", {}, 1),
        ("rsps", {}, 1),
        ("zarts-rs", LOOKAHEAD, 1 + 2 * 2),
        ("zarts-rs", LOOKAHEAD | {"eval_batches": 2}, 1 + 2 * 2),  # without a backward pass
        ("zarts-mgs", LOOKAHEAD | {"importance": "gradient"}, 2),
    ],
)
def test_the_passes_of_a_step_are_counted(method, more, each, tmp_path):
    run = sn.search(data(), method=method, out=tmp_path / "run", **TINY | more)
    assert run.summary["forward_backward"] == STEPS * each
    assert [row["forward_backward"] for row in run.metrics] == [STEPS // 2 * each, STEPS * each]


@pytest.mark.parametrize(
    ("method", "each"),
    [
        *((f"r-darts-{name}", 5) for name in ("l2", "dp", "es", "ada")),  # through an unrolled step
        *((name, 2) for name in ("darts-plus", "darts-minus", "fairdarts", "pc-darts", "p-darts", "gdas", "setn")),
        ("cdarts", 3),  # the search network on both batches, the evaluation network on that of alpha
    ],
)
def test_the_order_of_a_preset_is_in_the_passes_of_a_step_of_its_last_epoch(method, each):
    plan = planned(data(), method=method, epochs=3, batch_size=6, width=4, depth=1, device="cpu")
    with seeded(0):
        task = SearchTask(plan)
        task.begin_epoch(2)
        for done in (1, 2):
            task.step(LazyBatches(task.streams))
            assert task.passes.count == done * each


def test_a_selection_counts_its_own(tmp_path):
    search = sn.search(data(), method="darts", out=tmp_path / "run", **TINY)
    selection = sn.select(search, data=data(), tune_epochs=1, device="cpu", quiet=True)
    assert selection.summary["forward_backward"] == selection.metrics[-1]["forward_backward"] > 0
    assert search.summary["forward_backward"] == 2 * STEPS


class Net:
    """A supernet of which the tests see the count of passes alone."""

    passes = 0

    def run(self, passes):
        self.passes += passes


def test_a_replayed_step_has_the_passes_of_the_first():
    net = Net()
    passes = Passes(lambda: [net], replayed=True)
    passes.step(lambda: net.run(3))
    for _ in range(2):
        passes.step(lambda: None)
    assert passes.count == 9
    passes.between(lambda: net.run(2))
    assert passes.count == 11


def test_a_step_without_the_supernet_is_a_pass():
    net = Net()
    passes = Passes(lambda: [net])
    passes.step(lambda: None)
    assert passes.count == 1
