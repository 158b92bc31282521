"""Scoring: accuracy and loss of many architectures, or of maskings of one mix, on the same images.

What is equal among them is computed once (see `many.py`). Batch norm takes the statistics of the batch, as in training:
running ones were gathered under another mix, and would judge a masked supernet by what is missing from it. The running
statistics stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.measure import seconds
from supernet.engine.seeds import random_state_kept
from supernet.errors import UserError
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet

ValidationBatches = Callable[[], Iterable[Batch]]
"""Gives the second half of the training images, once, in batches of nearly equal size, always the same ones."""

Statistics = Literal["batch", "running"]
"""What batch norm takes where architectures are judged: the statistics of the batch, or its running ones."""

_TOGETHER = 16  # mixes in one call: more share no more, and take more memory


@dataclass(frozen=True)
class Scores:
    """Of each mix, in their order: the share of images that are told rightly, and the mean cross-entropy."""

    accuracy: list[float]
    loss: list[float]


class Scorer:
    """Scores mixes on all images of `batches`, and counts what it takes.

    - `running`: batch norm takes its running statistics instead, where there are any.
    - `passes`: over all `images` that have been made, one per mix. `spent`: the seconds they took.
    - `saved`: the seconds that as many passes, one after the other, would have taken beyond that, as one batch in each
      call tells; negative if they would have been faster. That batch is left out if it is not to be `timed`.
    """

    def __init__(
        self, supernet: Supernet, batches: ValidationBatches, *, running: bool = False, timed: bool = True
    ) -> None:
        self.supernet, self.batches, self.running, self.timed = supernet, batches, running, timed
        self.passes, self.images, self.spent, self.saved = 0, 0, 0.0, 0.0

    def __call__(self, mixes: Sequence[Mix]) -> Scores:
        """Return the scores of `mixes`, which are run as they are, whatever the supernet has decided."""
        parts = [mixes[start : start + _TOGETHER] for start in range(0, len(mixes), _TOGETHER)]
        with _as_given(self.supernet, running=self.running):
            found = [self._scores(part) for part in parts]
        return Scores([a for part in found for a in part.accuracy], [x for part in found for x in part.loss])

    def _scores(self, mixes: Sequence[Mix]) -> Scores:
        alone = self._alone(mixes[0]) if self.timed else 0.0
        sizes: list[int] = []
        began = perf_counter()
        found = loss_and_accuracy(lambda x: self.supernet.batched(x, mixes), self._counted(sizes)).tolist()
        spent = perf_counter() - began
        self.passes, self.images = self.passes + len(mixes), sum(sizes)
        self.spent += spent
        if self.timed:
            self.saved += alone * len(sizes) * len(mixes) - spent
        return Scores([accuracy for _, accuracy in found], [loss for loss, _ in found])

    def _alone(self, mix: Mix) -> float:
        """Return the seconds of one mix on one batch."""
        first = next(iter(self.batches()))
        return seconds(partial(self.supernet.batched, first.x, [mix]), first.x.device)

    def _counted(self, sizes: list[int]) -> Iterator[Batch]:
        for batch in self.batches():
            sizes.append(len(batch.y))
            yield batch


def check_norm(norm: Statistics, *, tracked: bool) -> None:
    """Raise UserError if batch norm should take running statistics and none are kept."""
    if norm == "running" and not tracked:
        raise UserError("norm running needs a search that keeps running statistics (--norm-track): take norm batch")


def first_images(batches: ValidationBatches, count: int | None) -> ValidationBatches:
    """Return what gives the first `count` images of `batches` only; None gives all."""
    return batches if count is None else partial(_cut, batches, count)


def _cut(batches: ValidationBatches, left: int) -> Iterator[Batch]:
    for batch in batches():
        yield Batch(*(part[:left] for part in batch))
        left -= len(batch.y)
        if left <= 0:
            return


@torch.no_grad()
def loss_and_accuracy(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Tensor:
    """Return mean loss and accuracy (K, 2) over all images, of the logits (K, B, classes) that `forward` gives."""
    sums, images = [], 0
    for batch in batches:
        logits = forward(batch.x)
        losses = [F.cross_entropy(own, batch.y, reduction="sum") for own in logits]
        hits = (logits.argmax(-1) == batch.y).sum(-1)
        sums.append(torch.stack([torch.stack(losses).double(), hits.double()], -1))
        images += len(batch.y)
    return torch.stack(sums).sum(0) / images


@contextmanager
def _as_given(supernet: Supernet, *, running: bool) -> Iterator[None]:
    """Let the mixes alone say what runs, with the batch's statistics or the running ones; random numbers stay."""
    decided, training, device = supernet.fixed_edges, supernet.training, next(supernet.parameters()).device
    supernet.fixed_edges = None
    supernet.train(not running)
    try:
        with random_state_kept(device):
            yield
    finally:
        supernet.fixed_edges = decided
        supernet.train(training)
