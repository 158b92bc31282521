"""The items of a torch Dataset, or one of Hugging Face: images, labels and class names, however they are given."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from supernet.data.arrays import Array, plain_tensor
from supernet.errors import UserError

IMAGE_KEYS, LABEL_KEYS = ("image", "img"), ("label", "labels", "fine_label", "class")  # keys of Hugging Face's items


@runtime_checkable
class HuggingFace(Protocol):
    """A dataset of Hugging Face, which is no torch Dataset."""

    features: Any

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int) -> Any:
        """Return an item, a mapping with an image and a label."""


class Items:
    """The items of a dataset as (index, image, label); with `skip_broken`, those that raise errors are left out."""

    def __init__(self, dataset: Any, skip_broken: bool) -> None:
        self.dataset, self.skip_broken = dataset, skip_broken
        self.broken: dict[int, str] = {}  # the error of each item that is left out

    def __iter__(self) -> Iterator[tuple[int, Any, Any]]:
        for index in range(len(self.dataset)):
            try:
                item = self.dataset[index]
            except Exception as error:  # whatever the user's code raises
                if not self.skip_broken:
                    raise
                self.leave_out(index, error)
                continue
            yield (index, *_pair(item, f"item {index} of {type(self.dataset).__name__}"))

    def leave_out(self, index: int, error: Exception) -> None:
        """Note that an item cannot be read."""
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__} "
        self.broken[index] = " ".join(f"item {index}: {kind}{error}".split())

    @property
    def note(self) -> tuple[str, ...]:
        """One phrase about all items that are left out."""
        first = "" if not self.broken else self.broken[min(self.broken)]
        return (f"{len(self.broken)} of {len(self.dataset)} items left out ({first})",) if first else ()


def _pair(item: object, name: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        pair = [item[key] for known in (IMAGE_KEYS, LABEL_KEYS) for key in known if key in item][:2]
        if not (set(IMAGE_KEYS) & set(item) and set(LABEL_KEYS) & set(item)):
            wanted = f"expected {' or '.join(IMAGE_KEYS)}, and {', '.join(LABEL_KEYS[:-1])} or {LABEL_KEYS[-1]}"
            raise UserError(f"{name} holds {', '.join(map(str, item)) or 'nothing'}; {wanted}")
        return pair[0], pair[1]
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise UserError(f"{name} is not a pair (image, label)")
    return item[0], item[1]


def plain_label(label: object, item: str) -> Any:
    """Return a label as an int, a text or an array; raises UserError, with the name of the item, for anything else."""
    with suppress(TypeError):
        return operator.index(label)  # type: ignore[arg-type]
    if isinstance(label, str | bytes):
        return label
    if isinstance(label, Tensor | np.ndarray | np.generic | float):
        array = plain_tensor(label) if isinstance(label, Tensor) else np.asarray(label)
        if array.dtype.kind in "biufSU" and array.ndim <= 1:
            return array
    raise UserError(f"{item} has a label of type {type(label).__name__}; labels must be integers")


def stacked(labels: Sequence[Any], name: str) -> Array:
    """Return the labels of the dataset `name` as one array; raises UserError if they are of different forms."""
    if all(isinstance(label, int) for label in labels):
        return np.array(labels)
    arrays = [np.asarray(label) for label in labels]
    for index, array in enumerate(arrays):
        if (array.dtype.kind, array.shape) != (arrays[0].dtype.kind, arrays[0].shape):
            raise UserError(f"labels of {name} are of different forms: {labels[0]!r} and {labels[index]!r}")
    return np.stack(arrays)


def class_names(dataset: Any) -> list[str] | None:
    """Return the names of the classes 0, 1, ... of a dataset or of those it is made of; None without names.

    Raises UserError where one is made of several with different classes.
    """
    if isinstance(dataset, Subset):
        return class_names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        every = [class_names(part) for part in dataset.datasets]
        if any(names != every[0] for names in every):
            raise UserError("the datasets of a ConcatDataset have different classes: give all the same")
        return every[0]
    features = getattr(dataset, "features", None)
    known = [features[key] for key in LABEL_KEYS if key in features] if isinstance(features, Mapping) else []
    names = getattr(known[0], "names", None) if known else getattr(dataset, "classes", None)
    return [str(name) for name in names] if isinstance(names, tuple | list) else None
