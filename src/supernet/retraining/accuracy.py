"""What logits and labels of images say of a network: accuracies, confusion, scores per class, mistakes, calibration."""

from __future__ import annotations

import torch
from torch import Tensor

from supernet.retraining.evaluation import Calibration, ClassScore, Mistake

_WORST = 16  # mistakes that are told


def topk_accuracy(logits: Tensor, y: Tensor, k: int) -> float:
    """Return the top-k accuracy."""
    hits = (logits.topk(k, dim=1).indices == y[:, None]).sum().item()
    return hits / len(y)


def confusion_of(found: Tensor, y: Tensor, classes: int) -> tuple[tuple[int, ...], ...]:
    """Return how many images of each class are predicted as each: of [i][j], those of class i as class j."""
    counts = torch.bincount(classes * y + found, minlength=classes * classes).view(classes, classes)
    return tuple(tuple(row) for row in counts.tolist())


def class_scores(confusion: tuple[tuple[int, ...], ...], classes: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return the scores of each class from the confusion of all, and the names of the classes."""
    taken = [sum(column) for column in zip(*confusion, strict=True)]
    scores = []
    for number, name in enumerate(classes):
        right, support = confusion[number][number], sum(confusion[number])
        precision, recall = _ratio(right, taken[number]), _ratio(right, support)
        scores.append(ClassScore(name, precision, recall, _ratio(2 * right, taken[number] + support), support))
    return tuple(scores)


def mistakes(
    surest: tuple[Tensor, Tensor], y: Tensor, classes: tuple[str, ...], numbers: Tensor
) -> tuple[Mistake, ...]:
    """Return the mistakes that the network was surest of, from each image's largest probability and its class."""
    probability, predicted = surest
    wrong = (predicted != y).nonzero().flatten()
    worst = wrong[probability[wrong].argsort(descending=True, stable=True)][:_WORST].tolist()
    return tuple(
        Mistake(int(numbers[n]), classes[int(y[n])], classes[int(predicted[n])], float(probability[n])) for n in worst
    )


def calibration(surest: tuple[Tensor, Tensor], y: Tensor) -> tuple[Calibration, ...]:
    """Return how often the predicted class is right by tenths of its probability, from each image's largest one."""
    probability, predicted = surest
    tenths = (10 * probability).long().clamp(max=9)
    groups = [(probability[tenths == tenth], (predicted == y)[tenths == tenth]) for tenth in range(10)]
    return tuple(Calibration(float(p.mean()), float(hit.double().mean()), len(p)) for p, hit in groups if len(p))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
