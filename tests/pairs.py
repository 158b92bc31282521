"""A torch Dataset of images and labels for tests."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class Pairs(Dataset[Any]):
    def __init__(self, images: Any, labels: Any = (0, 1, 2, 0, 1, 2), classes: Any = None) -> None:
        self.images, self.labels = images, labels
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], self.labels[index]
