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
    """Return the mean loss of logits (B, classes) for labels (B,), or shares of classes (B, classes)."""
    y = y if y.dim() == 1 else y.to(logits)
    if weights is None:
        return F.cross_entropy(logits, y, label_smoothing=smoothing)
    # PyTorch's mean would divide by the weights of the labels in this batch, but of shares by the number of images
    total = F.cross_entropy(logits, y, weights.to(logits), label_smoothing=smoothing, reduction="sum")
    return total / len(y)
