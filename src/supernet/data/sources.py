"""`load`: image sets from a name, a path or a torch Dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from supernet.data.arrays import read_npz
from supernet.data.datasets import read_dataset
from supernet.data.folders import read_folder
from supernet.data.idx import holds_idx, read_idx
from supernet.data.images import Images, Levels
from supernet.data.resize import fit_arrays
from supernet.errors import UserError, unknown

_SOURCES = ("digits", "a folder of class folders", "a folder of IDX files", "a .npz file")
_DIGITS_TEST = 297  # the last images of the 1797
_DIGITS_LEVELS = 16  # values are 0..16: the inked pixels of a 4x4 block

Source = str | os.PathLike[str] | Dataset[Any]
"""A source of images: "digits", an .npz file, a folder, or a Dataset of (image, label)."""


def load(
    source: Source,
    image_size: int | None = None,
    *,
    classes: Sequence[str] | None = None,
    levels: Levels | None = None,
    skip_broken: bool = False,
) -> Images:
    """Load a labelled image set.

    `source` is "digits"; the path of an .npz file with x_train, y_train and optionally x_test, y_test; the path of a
    folder of class folders, or of one with train/ and optionally val/ and test/; the path of a folder of IDX
    files like MNIST's (train-images-idx3-ubyte or .gz, and so on); or a torch Dataset of (image, label). For details
    see `digits`, `read_npz`, `read_folder`, `read_idx` and `read_dataset`.

    With `image_size` S, the centre square of each image is resized to S x S pixels. Without it, arrays keep their
    size, and pictures of a folder get the median shorter side, limited to 224 pixels and to 2 GB of memory for all
    pictures. With `classes`, labels refer to these names, some of which may have no images; with `levels`, values of
    more than 8 bits are scaled from them; `skip_broken` leaves out files that cannot be read. Raises UserError for any
    mistake in the data.
    """
    if image_size is not None and image_size < 1:
        raise UserError(f"image_size must be at least 1 pixel, not {image_size}")
    if isinstance(source, Dataset):
        return read_dataset(source, image_size, classes)
    if not isinstance(source, str | os.PathLike):
        raise UserError(f"data must be 'digits', a path or a torch Dataset, not {type(source).__name__}")
    if source == "digits":
        return digits(image_size)
    try:
        return _from_path(source, image_size, {"classes": classes, "levels": levels, "skip_broken": skip_broken})
    except OSError as error:
        raise UserError(f"cannot read '{error.filename or source}': {error.strerror or error}") from None


def source_name(source: Source) -> str:
    """Return the name of a source for the record of a run: the path, or the class of a Dataset."""
    return type(source).__name__ if isinstance(source, Dataset) else os.fspath(source)


def is_available(name: str) -> bool:
    """Return whether `load` can read the source with this name from `source_name`."""
    return name == "digits" or Path(name).expanduser().exists()


def digits(image_size: int | None = None) -> Images:
    """Return the UCI handwritten digits, 8x8 grey images: the first 1500 for training, the last 297 for testing.

    "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
    doi:10.24432/C50P49, CC BY 4.0. The data ships with this package; values are scaled from 0..16 to 0..255.
    """
    with resources.files("supernet.data").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        x = np.rint(archive["x"] * (255 / _DIGITS_LEVELS)).astype(np.uint8)
        y = torch.from_numpy(archive["y"].astype(np.int64))
    x_all = fit_arrays(torch.from_numpy(x)[:, None], image_size)
    n = len(y) - _DIGITS_TEST
    classes = tuple("0123456789")
    return Images.of("digits", (x_all[:n], y[:n]), classes, (x_all[n:], y[n:]), mirror=False)


def _from_path(source: str | os.PathLike[str], image_size: int | None, known: Mapping[str, Any]) -> Images:
    text = os.fspath(source)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return (
            read_idx(path, image_size, known["classes"]) if holds_idx(path) else read_folder(path, image_size, **known)
        )
    if not path.exists() or not text:
        if path.name != text or path.suffix == ".npz":
            raise UserError(f"no such file or folder: '{text}'")
        raise unknown("data", text, _SOURCES)
    if path.suffix.lower() != ".npz":
        raise UserError(f"'{text}' is not an .npz file: expected {', '.join(_SOURCES)}")
    return read_npz(path, image_size, known["classes"])
