"""Loss and accuracy on a set of images: of one network, or of many mixes of a supernet at once.

A Scorer runs many mixes together and computes only once what they share (see `batched.py`). Batch norm uses the
statistics of the batch, as in training: running statistics were gathered under another mix, and under a masked one the
accuracy would show how far they are off. Recalibrated statistics are the mean of those of all batches, gathered for
each mix before it is scored: single path one-shot search (Guo et al., ECCV 2020, arXiv 1904.00420) does so on training
images. The running statistics stay as they are. Dropout and drop-path are off, as in evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from time import perf_counter
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from supernet.data import Batch
from supernet.engine.process_group import alone, count, number
from supernet.engine.processes import dealt, gathered, own_draws, spread
from supernet.engine.seeds import random_state_kept
from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, check_batch_norm
from supernet.models.mix import Mix
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import BuffersRestored, Supernet

ValidationBatches = Callable[[], Iterable[Batch]]
"""Returns the validation images once, in batches of nearly equal size, the same ones at every call."""

LossOf = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (B, classes) and labels (B,) to the loss."""

Statistics = Literal["batch", "running", "recalibrated"]
"""The statistics of batch norm when architectures are evaluated: the batch's, the running, or those of all images."""

_TOGETHER = 16  # mixes in one call: more of them share no more, and take more memory


@dataclass(frozen=True)
class Scores:
    """Accuracy (0 to 1) and mean cross-entropy of each mix, in the order of the mixes."""

    accuracy: list[float]
    loss: list[float]


class Scorer:
    """Scores mixes on all images of `batches`.

    - `norm`: what batch norm uses; running and recalibrated statistics only where it tracks them.
    - `passes`: the number of mixes scored so far, each in a pass over all `images`; `spent`: the seconds they took.
    """

    def __init__(self, supernet: Supernet, batches: ValidationBatches, norm: Statistics = "batch") -> None:
        self.supernet, self.batches, self.norm = supernet, batches, norm
        self.passes, self.images, self.spent = 0, 0, 0.0

    def __call__(self, mixes: Sequence[Mix]) -> Scores:
        """Return the scores of the mixes, which run as they are, whatever edges of the supernet are fixed.

        Raises UserError for a batch of a single image whose statistics batch norm needs, at features of 1x1 pixels.
        """
        began = perf_counter()
        with _scoring(self.supernet, running=self.norm == "running"):
            scores = spread(mixes, self._all).tolist()
        self.passes, self.spent = self.passes + len(mixes), self.spent + perf_counter() - began
        return Scores([accuracy for _, accuracy in scores], [loss for loss, _ in scores])

    def _all(self, mixes: Sequence[Mix]) -> Tensor:
        if self.norm == "recalibrated":
            return torch.cat([self._recalibrated(mix) for mix in mixes]) if mixes else torch.empty(0, 2)
        groups = [mixes[start : start + _TOGETHER] for start in range(0, len(mixes), _TOGETHER)]
        return torch.cat([self._scores(group) for group in groups]) if groups else torch.empty(0, 2)

    def _scores(self, mixes: Sequence[Mix]) -> Tensor:
        return loss_and_accuracy(lambda x: self.supernet.batched(x, mixes), self._counted())

    @torch.no_grad()
    def _recalibrated(self, mix: Mix) -> Tensor:
        norms = [norm for norm in self.supernet.modules() if isinstance(norm, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        with BuffersRestored(self.supernet):
            try:
                _use_batch_statistics(self.supernet)
                for number, batch in enumerate(self._checked(), start=1):
                    for norm in norms:
                        norm.momentum = 1 / number  # of the n-th batch: what is kept is the mean of all
                    self.supernet(batch.x, mix)
            finally:
                for norm, momentum in zip(norms, momenta, strict=True):
                    norm.momentum = momentum
            self.supernet.eval()
            return self._scores([mix])

    def _counted(self) -> Iterator[Batch]:
        self.images = 0
        for batch in self.batches() if self.norm == "running" else self._checked():
            self.images += len(batch.y)
            yield batch

    def _checked(self) -> Iterator[Batch]:
        """Yield the batches; raise UserError for one of a single image that batch norm cannot take statistics of."""
        for batch in self.batches():
            if len(batch.y) == 1:
                check_batch_norm(OperationCosts(self.supernet.space, self.supernet.network_size).supernet, 1)
            yield batch


def check_norm(norm: Statistics, *, tracked: bool) -> None:
    """Raise UserError if batch norm should use statistics that the supernet does not track."""
    if norm != "batch" and not tracked:
        raise UserError(f"norm {norm} needs a search that keeps running statistics (--norm-track): take norm batch")


def first_images(batches: ValidationBatches, count: int | None) -> ValidationBatches:
    """Return a function that returns only the first `count` images of `batches`, or all of them for None.

    Whole batches stay as they are. Otherwise the images are divided anew, into batches of nearly equal size that are no
    larger than those given, because the statistics of a small last batch would be of few images.
    """
    if count is None:
        return batches
    sizes = cache(partial(_sizes, batches, count))  # counted once, since the images may have to be read from disk
    return lambda: _divided(batches(), sizes())


def nearly_equal(images: int, largest: int) -> list[int]:
    """Return the sizes of the fewest batches of at most `largest` images; the first ones may have one image more."""
    parts = math.ceil(images / largest)
    return [images // parts + (number < images % parts) for number in range(parts)]


def _sizes(batches: ValidationBatches, count: int) -> list[int]:
    sizes = list[int]()
    for batch in batches():
        sizes.append(len(batch.y))
        if sum(sizes) >= count:
            break
    return sizes if sum(sizes) <= count else nearly_equal(count, max(sizes))


def _divided(batches: Iterable[Batch], sizes: Iterable[int]) -> Iterator[Batch]:
    """Yield the images of `batches` in order, in batches of the given sizes."""
    source = iter(batches)
    held = next(source)
    for size in sizes:
        while len(held.y) < size:
            held = Batch(*map(torch.cat, zip(held, next(source), strict=True)))
        yield Batch(*(part[:size] for part in held))
        held = Batch(*(part[size:] for part in held))


def accuracy(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> float:
    """Return the share of images whose class has the largest of the logits (B, classes) that `forward` returns."""
    hits, _ = hits_and_labels(forward, batches)
    return int(hits.sum()) / len(hits)


@torch.no_grad()
def hits_and_labels(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return for each image whether its class has the largest logit, and its class, both (N,).

    Several processes share the batches out.
    """
    with own_draws():
        own = islice(batches, number(), None, count())
        with alone():
            pairs = [(forward(batch.x).argmax(1) == batch.y, batch.y) for batch in own]
    if count() > 1:
        pairs = dealt(gathered([(hits.cpu(), labels.cpu()) for hits, labels in pairs]))
    return torch.cat([hits for hits, _ in pairs]), torch.cat([labels for _, labels in pairs])


def balanced_accuracy(hits: Tensor, labels: Tensor) -> float:
    """Return the mean recall of the classes that have images."""
    images = torch.bincount(labels.cpu())
    right = torch.bincount(labels[hits].cpu(), minlength=len(images))
    return (right[images > 0] / images[images > 0].double()).mean().item()


def are_unequal(labels: Tensor) -> bool:
    """Return whether some classes have more images than others, so that accuracy and balanced accuracy differ."""
    return len(torch.unique(labels, return_counts=True)[1].unique()) > 1


@torch.no_grad()
def loss_and_accuracy(
    forward: Callable[[Tensor], Tensor], batches: Iterable[Batch], loss_of: LossOf | None = None
) -> Tensor:
    """Return mean loss and accuracy (K, 2) over all images; `forward` returns the logits (K, B, classes) of K mixes.

    The loss is the cross-entropy, or `loss_of` the logits and labels of a batch, a mean over its images.
    """

    def summed(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, reduction="sum") if loss_of is None else loss_of(logits, y) * len(y)

    sums, images = [], 0
    for batch in batches:
        logits = forward(batch.x)
        losses = [summed(of_mix, batch.y) for of_mix in logits]
        hits = (logits.argmax(-1) == batch.y).sum(-1)
        sums.append(torch.stack([torch.stack(losses).double(), hits.double()], -1))
        images += len(batch.y)
    return torch.stack(sums).sum(0) / images


@torch.no_grad()
def measures(loss: Tensor, logits: Tensor, batch: Batch) -> Mapping[str, Tensor]:
    """Return loss and accuracy (0 to 1) of a batch as tensors, without waiting for the device.

    Of a mixed image the class with the largest share counts.
    """
    y = batch.y if batch.y.dim() == 1 else batch.y.argmax(1)
    return {"loss": loss.detach(), "accuracy": (logits.argmax(1) == y).float().mean()}


@contextmanager
def _scoring(supernet: Supernet, *, running: bool) -> Iterator[None]:
    """Evaluate without fixed edges, with the batch's statistics or the running ones; keep the caller's random state."""
    fixed_edges, training, device = supernet.fixed_edges, supernet.training, next(supernet.parameters()).device
    supernet.fixed_edges = None
    if running:
        supernet.eval()
    else:
        _use_batch_statistics(supernet)
    try:
        with random_state_kept(device):
            yield
    finally:
        supernet.fixed_edges = fixed_edges
        supernet.train(training)


def _use_batch_statistics(supernet: Supernet) -> None:
    """Let batch norm use the statistics of the batch, as in training; drop nothing, as in evaluation."""
    supernet.train()
    for module in supernet.modules():
        if isinstance(module, MixedCell | _DropoutNd):
            module.training = False  # of a cell alone it says whether paths are dropped
