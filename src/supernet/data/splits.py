"""Splits: two halves of the images of a set, and a share of them that is held out."""

from __future__ import annotations

import torch
from torch import Tensor

from supernet.errors import UserError, unknown

SPLITS = ("stratified", "index")


def split(y: Tensor, rule: str = "stratified") -> tuple[Tensor, Tensor]:
    """Return the indices (int64, ascending, on the CPU) of two disjoint halves of the images with labels `y`.

    "stratified" shuffles the images in the same way in every run and deals those of each class alternately to the
    halves, which then have the same balance of classes; "index" cuts the order in the middle, as the released code of
    DARTS, DARTS-PT and ZARTS does. Sizes differ by at most one. Raises UserError for any other rule and for less than
    two images.
    """
    if rule not in SPLITS:
        raise unknown("split", rule, SPLITS)
    n = len(y)
    if n < 2:
        raise UserError(f"cannot split {n} training image{'s' if n != 1 else ''} into two halves: give at least 2")
    if rule == "index":
        return torch.arange(n // 2), torch.arange(n // 2, n)
    indices = _by_class(y)
    return indices[0::2].sort().values, indices[1::2].sort().values


def hold_out(y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the indices (int64, ascending, on the CPU) of the images with labels `y` to keep and to hold out.

    The rounded `share` of each class is held out, after a shuffle that is the same in every run: at least one image and
    at most all but one, and none of a class with a single image. Raises UserError for a share that is not between 0 and
    1, and if no class has two images.
    """
    if not 0 < share < 1:
        raise UserError(f"the share to hold out must be between 0 and 1, without either, not {share}")
    sizes = torch.unique(y.cpu(), return_counts=True)[1].tolist()
    if max(sizes, default=0) < 2:
        raise UserError(f"cannot hold out some of {len(y)} images: no class has two; give more of each class")
    classes = zip(sizes, torch.split(_by_class(y), sizes), strict=True)
    held_out = torch.zeros(len(y), dtype=torch.bool)
    held_out[torch.cat([indices[: min(max(round(share * n), 1), n - 1)] for n, indices in classes])] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def _by_class(y: Tensor) -> Tensor:
    """Return the indices of all images sorted by class, shuffled within each class in the same way in every run."""
    shuffled = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return shuffled[torch.sort(y.cpu()[shuffled], stable=True).indices]
