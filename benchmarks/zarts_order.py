"""How many validation images put the candidates of an update of ZARTS in an order that other images confirm.

    python benchmarks/zarts_order.py cifar10.npz

A supernet of NAS-Bench-201 trains its weights alone, as in the warm-up of zarts-mgs. Candidates are drawn around alpha
as MGS draws them, and evaluated after 10 lookahead steps on two draws of images without one in common, in batches of
64. The table has Spearman's correlation of their losses between the draws: after the same lookahead, and after two
lookaheads on different images. Large draws consist of the small ones, whose pairs are therefore more.
"""

from __future__ import annotations

import argparse
import statistics

import torch
import torch.nn.functional as F
from torch import Tensor

from sides import spread, table, where
from supernet.data import Batch
from supernet.engine.loop import LazyBatches
from supernet.methods.zarts.estimators import proposed
from supernet.methods.zarts.method import ZeroOrder
from supernet.methods.zarts.objective import CandidateBatches, parted
from supernet.models.lookahead import Lookahead
from supernet.models.rank_metrics import spearman
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask

SIGMAS, CANDIDATES, SETS = (0.025, 0.2), 10, 2
BATCH, SIZES = 64, (64, 256, 1024, 4096)
HEAD = ("sigma", "images", "same lookahead", "n", "other lookahead, too", "n", "rank of the best elsewhere")


class Orders:
    """A supernet after its warm-up, and the losses of candidates on two draws of validation images."""

    def __init__(self, data: str, epochs: int) -> None:
        torch.manual_seed(0)
        shape = {"image_size": 16, "width": 8, "depth": 1, "batch_size": BATCH, "device": "cpu"}
        self.task = SearchTask(planned(data, method="zarts-mgs", images=4 * max(SIZES), epochs=5 * epochs, **shape))
        assert isinstance(self.task.method, ZeroOrder)
        self.method, streams = self.task.method, self.task.streams
        for epoch in range(epochs):
            self.task.begin_epoch(epoch)
            for _ in range(streams["weights"].steps):
                self.task.step(LazyBatches(streams))
        self.images = list(self.task.validation_batches())
        self.generator = torch.Generator().manual_seed(0)

    def losses(self, sigma: float) -> list[Tensor]:
        """Return the losses (candidates, 2 draws, batches) of new candidates, after each of two lookaheads."""
        valid = self.task.streams["alpha"].next()
        gradient = self.method.objective.gradient(CandidateBatches(valid, [], 0))
        steps = proposed(CANDIDATES, gradient, sigma, self.method.config.lam, "mixture", self.generator)
        return [self._losses(steps, self.task.streams["inner"].next()) for _ in range(2)]

    def _losses(self, steps: Tensor, inner: Batch) -> Tensor:
        method, found = self.method, list[float]()

        def noted(logits: Tensor, y: Tensor) -> Tensor:
            loss = F.cross_entropy(logits, y)
            if not torch.is_grad_enabled():  # an evaluation, not a lookahead step
                found.append(loss.item())
            return loss

        mixes = [method.alphas.mix(method.alphas.after(step)) for step in steps]
        lookahead = Lookahead(method.supernet, method.budget.weights, loss_of=noted)
        lookahead.scores(method.optimizer, mixes, parted(inner, method.config.steps), self.images, seed=0)
        return torch.tensor(found, dtype=torch.float64).view(len(steps), 2, -1)


def lines(sigma: float, sets: list[list[Tensor]]) -> list[list[str]]:
    """Return the rows of the table for candidates of one sigma."""
    rows = []
    for size in SIZES:
        means = [[losses.unflatten(2, (-1, size // BATCH)).mean(3) for losses in both] for both in sets]
        pairs = [pair for both in means for one in both for pair in zip(one[:, 0].T, one[:, 1].T, strict=True)]
        crossed = [pair for one, two in means for pair in zip(one[:, 0].T, two[:, 1].T, strict=True)]
        orders = [[spearman(a.tolist(), b.tolist()) for a, b in found] for found in (pairs, crossed)]
        ranks = [1.0 + int((b < b[a.argmin()]).sum()) for a, b in pairs]
        (within, across), n = map(spread, orders), [str(len(found)) for found in orders]
        rows.append([str(sigma), str(size), within, n[0], across, n[1], f"{statistics.fmean(ranks):.1f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--warmup", type=int, default=4, help="epochs of 8 192 images that train the weights alone")
    given = parser.parse_args()
    orders, rows = Orders(given.data, given.warmup), list[list[str]]()
    for sigma in SIGMAS:
        sets = [orders.losses(sigma) for _ in range(SETS)]
        deviation = statistics.fmean(losses.mean((1, 2)).std().item() for both in sets for losses in both)
        print(f"sigma {sigma}: standard deviation of the losses of {CANDIDATES} candidates {deviation:.4f}")
        rows += lines(sigma, sets)
    print(where(torch.device("cpu")))
    print(table(rows, HEAD))


if __name__ == "__main__":
    main()
