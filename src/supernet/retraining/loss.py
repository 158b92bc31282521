"""The loss of a retraining: cross-entropy with labels that may be shares of classes, and with weights of classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(y: Tensor, classes: int) -> Tensor:
    """Return the weight of each class in the loss, N/(K n) for n of N labels in one of K classes; 0 without labels."""
    images = torch.bincount(y, minlength=classes)
    present = images > 0
    return torch.where(present, len(y) / (present.sum() * images.clamp(min=1)), 0.0)


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    """Return the mean loss of logits (B, classes) for labels (B,), or shares of classes (B, classes).

    The weight of an image's class is that of all its loss, also of what `smoothing` spreads over the other classes.
    """
    if weights is None:
        return F.cross_entropy(logits, y if y.dim() == 1 else y.to(logits), label_smoothing=smoothing)
    # PyTorch's own weights are of the classes that a label is spread over: with 98 images of a class for 2 of another,
    # and a smoothing of 0.1, the loss of a common image would be the lowest for a prediction of the rare class
    shares = (F.one_hot(y, logits.shape[1]) if y.dim() == 1 else y).to(logits) * weights.to(logits)
    spread = shares.sum(1, keepdim=True) / logits.shape[1]
    return F.cross_entropy(logits, torch.lerp(shares, spread.expand_as(shares), smoothing))
