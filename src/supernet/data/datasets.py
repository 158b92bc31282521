"""Loading images from a torch Dataset."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from supernet.data.arrays import labels, pixels, renamed
from supernet.data.images import Images
from supernet.data.pictures import readable
from supernet.data.resize import default_size, drop_grey, fit_arrays, fit_picture
from supernet.errors import UserError


def read_dataset(dataset: Dataset[Any], image_size: int | None, known: Sequence[str] | None = None) -> Images:
    """Read every (image, label) of `dataset`, a second time where pictures need a common size and none is given.

    Pictures (pillow) of different sizes are resized like those of a folder; arrays and tensors must all have the same
    shape, (H, W), (H, W, C) or (C, H, W). With `known` names of classes, some may have no images. Raises UserError that
    names the first bad item.
    """
    name = type(dataset).__name__
    if not isinstance(dataset, Sized):
        raise UserError(f"{name} has no length: a Dataset with __len__ and __getitem__ is needed")
    if len(dataset) == 0:
        raise UserError(f"{name} holds no images")
    pictures = isinstance(next(_items(dataset, 1))[0], Image.Image)
    size = _picture_size(dataset, len(dataset)) if pictures and image_size is None else image_size
    parts: list[Tensor] = []
    numbers: list[int] = []
    for index, (image, label) in enumerate(_items(dataset, len(dataset))):
        item = f"item {index} of {name}"
        parts.append(_image(image, size, item))
        _check_shape(parts, item)
        numbers.append(_label(label, item))
    x, y = torch.cat(parts), labels(np.array(numbers), f"labels of {name}")
    y, classes = renamed(y, _names(dataset), f"labels of {name}", known)
    return Images.of(name, (drop_grey(x) if pictures else x, y), classes)


def _items(dataset: Dataset[Any], count: int) -> Iterator[tuple[Any, Any]]:
    for index in range(count):
        item = dataset[index]
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise UserError(f"item {index} of {type(dataset).__name__} is not a pair (image, label)")
        yield item[0], item[1]


def _picture_size(dataset: Dataset[Any], count: int) -> int | None:
    sizes = [image.size for image, _ in _items(dataset, count) if isinstance(image, Image.Image)]
    return None if len(set(sizes)) == 1 else default_size((min(size) for size in sizes), len(sizes))


def _image(image: object, size: int | None, item: str) -> Tensor:
    """Return one image as (1, C, H, W) uint8."""
    if isinstance(image, Image.Image):
        with readable(f"the image of {item}"):
            return fit_picture(image, size)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        raise UserError(f"{item} has an image of type {type(image).__name__}; expected a PIL image, array or tensor")
    return fit_arrays(pixels(image, item, one=True), size)


def _check_shape(parts: list[Tensor], item: str) -> None:
    first, last = tuple(parts[0].shape[1:]), tuple(parts[-1].shape[1:])
    if first != last:
        raise UserError(f"{item} has another shape (C, H, W) than item 0: {last}, not {first}; give all one shape")


def _label(label: object, item: str) -> int:
    try:
        return operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"{item} has a label of type {type(label).__name__}; labels must be integers") from None


def _names(dataset: Dataset[Any]) -> list[str] | None:
    """Return the dataset's names of its classes, None without names."""
    names = getattr(dataset, "classes", None)
    return [str(name) for name in names] if isinstance(names, tuple | list) else None
