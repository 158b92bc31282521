"""`load`: image sets from a name, a path, a Dataset or arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from supernet.data.arrays import plain_array
from supernet.data.cifar import find_cifar, read_cifar
from supernet.data.datasets import read_dataset
from supernet.data.folders import read_folder
from supernet.data.idx import holds_idx, read_idx
from supernet.data.images import Images
from supernet.data.items import HuggingFace
from supernet.data.levels import Levels
from supernet.data.npz import read_npz
from supernet.data.parts import Found, Part, image_set
from supernet.data.pictures import path_of
from supernet.data.prepared import prepared
from supernet.data.resize import Size, sides
from supernet.data.shards import expanded, find_shards, read_shards
from supernet.data.streamed import Streamed
from supernet.errors import UserError, shown, unknown

_SOURCES = (
    *("digits", "a folder of class folders", "a folder of IDX or CIFAR files", "a .npz file"),
    "shards (.tar, .parquet, .arrow)",
)
_DIGITS_TEST = 297  # the last images of the 1797
_DIGITS_LEVELS = 16  # values are 0..16: the inked pixels of a 4x4 block

Source = str | os.PathLike[str] | Dataset[Any] | HuggingFace | tuple[Any, ...]
"""A source of images: "digits", an .npz file, a folder, a Dataset of (image, label), or arrays (X, y)."""

SOURCE_TYPES: tuple[type[Any], ...] = (str, os.PathLike, Dataset, HuggingFace, tuple)
"""The types of all sources."""

SOURCE_WORDS = "'digits', a path, a torch Dataset, or arrays as (X, y)"
"""All sources, in words."""


def load(
    source: Source,
    image_size: Size | None = None,
    *,
    classes: Sequence[str] | None = None,
    levels: Levels | None = None,
    channels: int | None = None,
    first_label: int = 0,
    skip_broken: bool = False,
    stream: bool | None = None,
) -> Images:
    """Load a labelled image set.

    `source` is "digits"; the path of an .npz file with x_train, y_train and optionally x_val, y_val, x_test, y_test;
    the path of a folder of class folders, or of one with train/ and optionally val/ and test/; the path of a folder
    of IDX files like MNIST's (train-images-idx3-ubyte or .gz, and so on), or of the files of CIFAR-10 or
    CIFAR-100; shards, as one .tar, .parquet or .arrow file, a folder of them, or a path whose braces name several
    ('train-{000..009}.tar'); a torch Dataset or one of Hugging Face, of images and labels; or arrays or tensors, as
    (X, y) or ((X, y), (X_test, y_test)). For details see `digits`, `read_npz`, `read_folder`, `read_shards`,
    `read_idx`, `read_cifar`, `read_dataset` and `read_arrays`.

    With `classes`, the names of classes of a run, labels are matched to these; a label or class that is not among them
    is an error, and a class may lack images; `first_label`, 0 or 1, is the run's label of the first class where its
    source names the classes. With `levels`, values of more than 8 bits are scaled from them. With 1 or
    3 `channels` pictures are read as grey or RGB; otherwise they are grey if all are. With
    `skip_broken`, images that cannot be read are left out. With `stream`, the images of a folder or of shards stay
    on the disk and are decoded when they are needed; None does so where an `image_size` is given at which they would
    take too much memory (see `is_for_streaming`).

    With `image_size` S, the centre square of each image is resized to S x S pixels; with a pair that is not square,
    height and width, all of each image is resized to it. Without it, arrays keep their
    size, and pictures of a folder get the median shorter side, limited to 224 pixels and to 2 GB of memory for all
    pictures. Raises UserError for any mistake in the data.
    """
    if image_size is not None and min(sides(image_size)) < 1:
        raise UserError(f"image_size must be at least 1 pixel, not {image_size}")
    how = _How(image_size, classes, levels, channels, first_label, skip_broken, stream)
    read = partial(_read, source, how)
    images = prepared(read, source_name(source), *how) if isinstance(source, str | os.PathLike) else read()
    if stream and not isinstance(images.x, Streamed):
        can = "only a folder of class folders or shards can"
        raise UserError(f"'{source_name(source)}' cannot be streamed, {can}: leave it out")
    return images


class _How(NamedTuple):
    """How a source is read; see `load`."""

    image_size: Size | None
    classes: Sequence[str] | None
    levels: Levels | None
    channels: int | None
    first_label: int
    skip_broken: bool
    stream: bool | None


def _read(source: Source, how: _How) -> Images:
    if isinstance(source, Dataset | HuggingFace):
        settings = how._asdict()
        del settings["stream"]  # a Dataset is read into memory
        return read_dataset(source, **settings)
    if isinstance(source, tuple):
        return read_arrays(source, how.image_size, how.classes, how.levels, how.first_label)
    if not isinstance(source, str | os.PathLike):
        raise UserError(
            f"data cannot be of type {type(source).__name__}: {shown(repr(source))}; expected {SOURCE_WORDS}"
        )
    if source == "digits":
        return digits(how.image_size, how.classes)
    try:
        return _from_path(source, how)
    except OSError as error:
        raise UserError(f"cannot read '{error.filename or source}': {error.strerror or error}") from None


def source_name(source: Source) -> str:
    """Return the name of a source for the record of a run: the path, the class of a Dataset, or "arrays".

    A path "digits" is "./digits", since the text alone is the name of the digits that come with the package.
    """
    if isinstance(source, tuple):
        return "arrays"
    if isinstance(source, os.PathLike) and os.fspath(source) == "digits":
        return f".{os.sep}digits"
    return os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__


def same_source(one: str, other: str) -> bool:
    """Return whether two names from `source_name` are of one source, however a path is written."""
    paths = path_of(one), path_of(other)
    there = all(os.path.exists(path) for path in paths)  # noqa: PTH110  Path fails on long text
    return one == other or ("digits" not in (one, other) and there and paths[0].samefile(paths[1]))


def is_available(name: str) -> bool:
    """Return whether `load` can read the source with this name from `source_name`."""
    paths = [name] if path_of(name).exists() else expanded(name)
    return name == "digits" or all(path_of(path).exists() for path in paths)


def digits(image_size: Size | None, classes: Sequence[str] | None) -> Images:
    """Return the UCI handwritten digits, 8x8 grey images: the first 1500 for training, the last 297 for testing.

    "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
    doi:10.24432/C50P49, CC BY 4.0. The data ships with this package; values are scaled from 0..16 to 0..255.
    """
    with resources.files("supernet.data").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        x, y = np.rint(archive["x"] * (255 / _DIGITS_LEVELS)).astype(np.uint8), archive["y"]
    n = len(y) - _DIGITS_TEST
    found = Found(Part(x[:n], y[:n], "x", "y"), Part(x[n:], y[n:], "x", "y"), names="0123456789")
    return image_set("digits", "digits", found, image_size, classes, mirror=False)


def read_arrays(
    arrays: tuple[Any, ...],
    image_size: Size | None,
    classes: Sequence[str] | None,
    levels: Levels | None,
    first_label: int = 0,
) -> Images:
    """Read images and labels, arrays or tensors (X, y) or ((X, y), (X_test, y_test)), as those of an .npz file."""
    pairs = arrays if all(isinstance(pair, tuple) for pair in arrays) else (arrays,)
    if not 1 <= len(pairs) <= 2 or any(len(pair) != 2 for pair in pairs):
        raise UserError("arrays are given as (X, y), or as ((X, y), (X_test, y_test)) with test images")
    train, *test = (
        Part(plain_array(x, f"X{end}"), plain_array(y, f"y{end}"), f"X{end}", f"y{end}")
        for (x, y), end in zip(pairs, ("", "_test"), strict=False)
    )
    found = Found(train, test[0] if test else None)
    return image_set("arrays", "the arrays", found, image_size, classes, levels=levels, first_label=first_label)


def _from_path(source: str | os.PathLike[str], how: _How) -> Images:
    text = os.fspath(source)
    path = path_of(text)
    if text and path.is_dir():
        if holds_idx(path):
            return read_idx(path, how.image_size, how.classes)
        cifar = find_cifar(path)
        if cifar is not None:
            return read_cifar(*cifar, how.image_size, how.classes)
    shards, name = find_shards(path) if text else ([], "")
    settings = how._asdict()
    if shards:
        return read_shards(shards, name, text, **settings)
    if text and path.is_dir():
        del settings["first_label"]  # class folders have names in place of labels
        return read_folder(path, **settings)
    if not path.exists() or not text:
        if text == "digits":  # the text itself never gets here
            raise UserError(
                "no such file or folder: './digits'; the digits of the package are the text 'digits', no Path"
            )
        if path.name != text or path.suffix == ".npz":
            raise UserError(f"no such file or folder: '{text}'")
        raise unknown("data", text, _SOURCES)
    if path.suffix.lower() != ".npz":
        raise UserError(f"'{text}' is not an .npz file: expected {', '.join(_SOURCES)}")
    if not path.is_file():
        raise UserError(f"'{text}' is a pipe or a device: expected a file")
    return read_npz(path, how.image_size, how.classes, how.levels, how.first_label)
