"""How many validation images put the candidates of an update of ZARTS in an order that other images confirm.

    python benchmarks/zarts_order.py cifar10.npz

A supernet of NAS-Bench-201 trains its weights alone, as in the warm-up of zarts-mgs. Candidates are drawn around alpha
as MGS draws them, and evaluated after 10 lookahead steps, in batches of 64. The table has Spearman's correlation of
their losses between two draws of validation images without one in common: after the same lookahead, after two
lookaheads on different images, and without lookahead. Large draws consist of the small ones, so there are fewer pairs.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from sides import spread, table, where
from supernet.engine.loop import LazyBatches
from supernet.methods.zarts.estimators import proposed
from supernet.methods.zarts.method import ZeroOrder
from supernet.methods.zarts.objective import CandidateBatches, parted
from supernet.models.lookahead import Lookahead
from supernet.models.rank_metrics import spearman
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask

SIGMAS, CANDIDATES, SETS, LOOKAHEADS = (0.025, 0.2), 10, 2, 4
BATCH, SIZES, COMPARED = 64, (64, 256, 1024, 4096), 1024  # images
HEAD = ("sigma", "lookahead", "images", "correlation", "n", "rank of the best elsewhere")
Pairs = dict[tuple[str, int], list[tuple[Tensor, Tensor]]]  # by lookahead and images: losses on two draws


class Orders:
    """A supernet after its warm-up, and the losses of candidates on draws of its validation images."""

    def __init__(self, data: str, epochs: int) -> None:
        torch.manual_seed(0)
        shape = {"image_size": 16, "width": 8, "depth": 1, "batch_size": BATCH, "device": "cpu"}
        self.task = SearchTask(planned(data, method="zarts-mgs", images=4 * max(SIZES), epochs=5 * epochs, **shape))
        assert isinstance(self.task.method, ZeroOrder)
        self.method, self.streams = self.task.method, self.task.streams
        for epoch in range(epochs):
            self.task.begin_epoch(epoch)
            for _ in range(self.streams["weights"].steps):
                self.task.step(LazyBatches(self.streams))
        self.images = list(self.task.validation_batches())
        self.generator = torch.Generator().manual_seed(0)

    def candidates(self, sigma: float) -> Tensor:
        """Draw steps of alpha around minus the gradient on a new batch."""
        gradient = self.method.objective.gradient(CandidateBatches(self.streams["alpha"].next(), [], 0))
        return proposed(CANDIDATES, gradient, sigma, self.method.config.lam, "mixture", self.generator)

    def add(self, pairs: Pairs, steps: Tensor) -> None:
        """Add the losses after the steps of alpha on two draws, of every size and every kind of lookahead."""
        inner = [parted(self.streams["inner"].next(), self.method.config.steps) for _ in range(LOOKAHEADS)]
        losses = self._each(steps, CandidateBatches(self.images[0], inner[0], 0, self.images[1:]))
        for size in SIZES:
            one, other = losses.view(CANDIDATES, 2, -1, size // BATCH).mean(3).unbind(1)
            pairs.setdefault(("same", size), []).extend(zip(one.T, other.T, strict=True))
        size = COMPARED // BATCH
        draws = [self.images[start : start + size] for start in range(0, LOOKAHEADS * size, size)]
        for kind, lookaheads in (("other", inner), ("none", [[]] * LOOKAHEADS)):
            found = [
                self.method.objective.values(steps, CandidateBatches(draw[0], batches, 0, draw[1:]))
                for draw, batches in zip(draws, lookaheads, strict=True)
            ]
            pairs.setdefault((kind, COMPARED), []).extend(combinations(found, 2))

    def _each(self, steps: Tensor, batches: CandidateBatches) -> Tensor:
        """Return the losses (candidates, batches) on each batch of validation images."""
        method, found = self.method, list[float]()

        def noted(logits: Tensor, y: Tensor) -> Tensor:
            loss = F.cross_entropy(logits, y)
            if not torch.is_grad_enabled():  # an evaluation, not a lookahead step
                found.append(loss.item())
            return loss

        mixes = [method.alphas.mix(method.alphas.after(step)) for step in steps]
        lookahead = Lookahead(method.supernet, method.budget.weights, loss_of=noted)
        lookahead.scores(method.optimizer, mixes, batches.inner, [batches.valid, *batches.more], seed=batches.seed)
        return torch.tensor(found, dtype=torch.float64).view(len(steps), -1)


def line(sigma: float, kind: str, size: int, pairs: list[tuple[Tensor, Tensor]]) -> list[str]:
    """Return a row of the table."""
    found = spread([spearman(one.tolist(), other.tolist()) for one, other in pairs])
    ranks = [1.0 + int((other < other[one.argmin()]).sum()) for one, other in pairs]
    return [str(sigma), kind, str(size), found, str(len(pairs)), f"{statistics.fmean(ranks):.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--warmup", type=int, default=4, help="epochs of 8 192 images that train the weights alone")
    given = parser.parse_args()
    orders, rows = Orders(given.data, given.warmup), list[list[str]]()
    for sigma in SIGMAS:
        pairs: Pairs = {}
        for _ in range(SETS):
            orders.add(pairs, orders.candidates(sigma))
        deviation = statistics.fmean(one.std().item() for one, _ in pairs["same", max(SIZES)])
        print(f"sigma {sigma}: standard deviation of the losses of {CANDIDATES} candidates {deviation:.4f}")
        rows += [line(sigma, *key, found) for key, found in pairs.items()]
    print(where(torch.device("cpu")))
    print(table(rows, HEAD))


if __name__ == "__main__":
    main()
