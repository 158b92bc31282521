"""Mixup and cutmix: images that are mixed with others of their batch, and the shares of their classes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mixed(
    x: Tensor, y: Tensor, classes: int, mixup: float, cutmix: float, draws: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return images (B, H, W, C) mixed with the one before, and the shares of their classes, (B, classes) float32.

    Mixup (Zhang et al., ICLR 2018, arXiv 1710.09412) adds up both images; cutmix (Yun et al., ICCV 2019, arXiv
    1905.04899) puts a rectangle of one into the other, in the same place, clipped at the border. The share of an
    image's own class is drawn once for a batch from Beta(a, a), where a is `mixup` or `cutmix`, and cutmix then takes
    that of the area. Of both, one is drawn for each batch; 0 is never.
    """
    is_cut = cutmix > 0 and (mixup == 0 or draws.random() < 0.5)
    alpha = cutmix if is_cut else mixup
    share = float(draws.beta(alpha, alpha))
    other = x.roll(1, 0)
    if is_cut:
        height, width = x.shape[1:3]
        rows, columns = (_interval(length, (1 - share) ** 0.5, draws) for length in (height, width))
        x[:, rows, columns] = other[:, rows, columns]
        share = 1 - len(range(*rows.indices(height))) * len(range(*columns.indices(width))) / (height * width)
    else:
        x = torch.lerp(other, x, share)
    labels = F.one_hot(y, classes).float()
    return x, torch.lerp(labels.roll(1, 0), labels, share)


def _interval(length: int, part: float, draws: np.random.Generator) -> slice:
    """Return an interval of a part of the length, centred anywhere and clipped."""
    start = int(draws.integers(length)) - int(length * part) // 2
    return slice(max(start, 0), min(start + int(length * part), length))
