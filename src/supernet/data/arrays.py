"""Checks and conversion of users' arrays to uint8 images (N, C, H, W) and int64 labels (N,)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.data.images import Images
from supernet.data.resize import fit_arrays
from supernet.errors import UserError

Array = NDArray[Any]
_CHUNK = 1024  # images converted from floats at a time


class Part(NamedTuple):
    """The training or test images of a source, unchecked, with the names of the arrays in the source."""

    x: Array
    y: Array
    x_name: str
    y_name: str


def read_npz(path: Path, image_size: int | None, known: Sequence[str] | None = None) -> Images:
    """Read x_train, y_train and, if present, x_test and y_test; raises UserError for any mistake in the file.

    `known` are the names of the classes, if they are known: see `image_set`.
    """
    arrays = _open(path)
    train = Part(arrays["x_train"], arrays["y_train"], "x_train", "y_train")
    test = Part(arrays["x_test"], arrays["y_test"], "x_test", "y_test") if "x_test" in arrays else None
    return image_set(path.stem, path.name, train, test, image_size, known)


def _open(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise UserError(f"'{path}' holds a single array: save it with np.savez, as x_train and y_train")
            names = [f"{kind}_{part}" for part in ("train", "test") for kind in "xy"]
            arrays = {name: archive[name] for name in names if name in archive}
            content = ", ".join(archive) or "nothing"
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"cannot read '{path}': not an .npz file of plain arrays, or damaged") from None
    for name in names if {"x_test", "y_test"} & set(arrays) else names[:2]:
        if name not in arrays:
            raise UserError(f"'{path}' has no array '{name}'; it holds {content}")
    return arrays


def image_set(
    name: str,
    source: str,
    train: Part,
    test: Part | None,
    image_size: int | None,
    known: Sequence[str] | None = None,
) -> Images:
    """Check the parts of an image set against each other and build the set; errors name `source`.

    With `known`, class number 7 is the one of these names that is "7", and not every name needs images. Raises
    UserError as `pixels`, `labels` and `renamed` do, for different numbers of images and labels, and for test images of
    a different shape or with a class that no training image has.
    """
    x, y = _checked(train, source, image_size)
    y, classes = renamed(y, None, f"{train.y_name} of '{source}'", known)
    if test is None:
        return Images.of(name, (x, y), classes)
    x_test, y_test = _checked(test, source, image_size)
    if x_test.shape[1:] != x.shape[1:]:
        shapes = f"{tuple(x_test.shape[1:])} in {test.x_name}, {tuple(x.shape[1:])} in {train.x_name}"
        raise UserError(f"test images of '{source}' have another shape (C, H, W) than training images: {shapes}")
    if known is not None:
        y_test, _ = renamed(y_test, None, f"{test.y_name} of '{source}'", known)
    if int(y_test.max()) >= len(classes):
        raise UserError(f"{test.y_name} of '{source}' holds label {int(y_test.max())}, which no training image has")
    return Images.of(name, (x, y), classes, (x_test, y_test))


def _checked(part: Part, source: str, image_size: int | None) -> tuple[Tensor, Tensor]:
    x = pixels(part.x, f"{part.x_name} of '{source}'")
    y = labels(part.y, f"{part.y_name} of '{source}'")
    if len(x) != len(y):
        raise UserError(f"{part.x_name} of '{source}' has {len(x)} images but {part.y_name} has {len(y)} labels")
    return fit_arrays(x, image_size), y


def pixels(array: Array, name: str, one: bool = False) -> Tensor:
    """Return images as (N, C, H, W) uint8.

    `array` has shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels; a last axis of at most 4 is the
    channels; with `one` the array is a single image without N. Values are uint8, or floats in [0, 1], which are scaled
    and rounded. Raises UserError, with the `name` of the array, for any other shape or values.
    """
    x = array[None] if one else array
    if x.ndim and len(x) == 0:
        raise UserError(f"{name} holds no images")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and 1 <= x.shape[3] <= 4:
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4 or not 1 <= x.shape[1] <= 4 or 0 in x.shape:
        expected = "(H, W), (H, W, C) or (C, H, W)" if one else "(N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise UserError(f"{name} has shape {array.shape}; expected {expected} with C from 1 to 4")
    return torch.from_numpy(_bytes(x, name))


def _bytes(x: Array, name: str) -> NDArray[np.uint8]:
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise UserError(f"{name} has dtype {x.dtype}; expected uint8, or floats in [0, 1]")
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():  # a NaN makes both NaN
        raise UserError(f"{name} holds NaN or infinity")
    if low < 0 or high > 1:
        advice = "give uint8 images, or floats in [0, 1] before normalisation"
        raise UserError(f"{name} holds floats from {low:.4g} to {high:.4g}; {advice}")
    parts = (x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK))
    return np.concatenate([np.rint(np.multiply(part, 255, dtype=np.float64)).astype(np.uint8) for part in parts])


def labels(array: Array, name: str) -> Tensor:
    """Return integer labels as (N,) int64; raises UserError, with the `name` of the array, for anything else."""
    if array.ndim != 1:
        raise UserError(f"{name} has shape {array.shape}; expected one label per image, (N,)")
    if array.dtype.kind not in "iu":
        raise UserError(f"{name} has dtype {array.dtype}; labels must be integers")
    for label in (int(array.min()), int(array.max())) if len(array) else ():
        if not 0 <= label <= np.iinfo(np.int64).max:
            raise UserError(f"{name} holds label {label}; labels are class numbers 0, 1, 2, ...")
    return torch.from_numpy(array.astype(np.int64))


def renamed(
    y: Tensor, names: Sequence[str] | None, source: str, known: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the labels `y` (N,) of classes with these `names`, by default their numbers, as labels of `known` names.

    Without `known` they stay as they are, with the names of `class_names`. Raises UserError for a class that is not
    among the known ones.
    """
    if known is None:
        return y, class_names(y, names, source)
    found = torch.zeros_like(y)
    for label in torch.unique(y).tolist():
        name = str(label) if names is None or label >= len(names) else names[label]
        if name not in known:
            raise UserError(f"{source} holds class '{name}', which is none of the known ones: {', '.join(known)}")
        found[y == label] = known.index(name)
    return found, tuple(known)


def class_names(y: Tensor, names: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Return the name of each class of the labels `y` (N,), its number if `names` is None; errors name `source`.

    Raises UserError for a single class, a label without a name, and a class without an image.
    """
    present = torch.unique(y).tolist()
    if len(present) < 2:
        raise UserError(f"{source} holds only one class, {present[0]}: at least 2 are needed")
    count = present[-1] + 1 if names is None else len(names)
    if present[-1] >= count:
        raise UserError(f"{source} holds label {present[-1]}, but there are only {count} class names")
    if len(present) < count:
        first = next(i for i, label in enumerate([*present, count]) if i != label)
        title = "" if names is None else f" ('{names[first]}')"
        raise UserError(f"{source} has no image of class {first}{title}: each of classes 0 to {count - 1} needs one")
    return tuple(names) if names is not None else tuple(str(label) for label in present)
