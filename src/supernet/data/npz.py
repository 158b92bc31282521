"""Loading images from an .npz file."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from supernet.data.images import Images
from supernet.data.levels import Levels
from supernet.data.limits import check_size
from supernet.data.parts import Found, Part, image_set
from supernet.data.resize import Size
from supernet.errors import UserError

_SPELLINGS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
_KNOWN = (
    "x_train, y_train and, if you have them, x_val, y_val, x_test, y_test; "
    "or MedMNIST's train_images, train_labels and so on"
)
_SHOWN = 20  # names of arrays in a message
_DAMAGED = (
    *(EOFError, ValueError, KeyError, RuntimeError, MemoryError, OverflowError),  # of numpy and zipfile
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)


def read_npz(
    path: Path, image_size: Size | None, classes: Sequence[str] | None, levels: Levels | None, first_label: int = 0
) -> Images:
    """Read x_train, y_train and, if present, x_val, y_val, x_test and y_test; raises UserError for any mistake.

    `x_valid` and `x_validation` are other names of `x_val`, and `train_images`, `train_labels` and so on those of
    MedMNIST; capital letters do not matter. Nothing is unpacked before its size is known and allowed.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                file.seek(0)
                _header(file)
                raise UserError(f"'{path}' holds a single array: save it with np.savez, as x_train and y_train")
            with zipfile.ZipFile(file) as archive:
                found = _read(archive, path)
    except _DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read '{path}': not an .npz file of plain arrays, or damaged") from None
    how = (found, image_size, classes)
    return image_set(path.stem, f"'{path.name}'", *how, levels=levels, first_label=first_label)


def _read(archive: zipfile.ZipFile, path: Path) -> Found:
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    train, validation, test = (_pair(part, list(members), path) for part in _SPELLINGS)
    check_size(sum(_size(archive, members[name]) for name in (*train, *validation, *test)), f"'{path}'")

    def part(names: tuple[str, ...]) -> Part:
        x, y = (_array(archive, members[name]) for name in names)
        return Part(x, y, *names)

    return Found(part(train), part(test) if test else None, part(validation) if validation else None)


def _pair(part: str, held: list[str], path: Path) -> tuple[str, ...]:
    """Return the names of the images and labels of a part as they are in the file; nothing if it has neither."""
    pairs = [(f"x_{word}", f"y_{word}") for word in _SPELLINGS[part]]
    pairs += [(f"{word}_images", f"{word}_labels") for word in _SPELLINGS[part]]
    images, labels = ([name for name in held if name.lower() in known] for known in zip(*pairs, strict=True))
    for names, kind in ((images, "images"), (labels, "labels")):
        if len(names) > 1:
            raise UserError(f"'{path}' holds {' and '.join(names)}: expected one array of {kind}")
    if images and labels:
        return images[0], labels[0]
    given = [*images, *labels]
    if not given and part != "train":
        return ()
    pair = next((pair for pair in pairs if given and given[0].lower() in pair), pairs[0])
    content = ", ".join([*held[:_SHOWN], *(["..."] if len(held) > _SHOWN else [])]) or "nothing"
    known = "" if given else f"; expected {_KNOWN}"
    raise UserError(f"'{path}' has no array '{pair[len(images)]}'; it holds {content}{known}")


def _size(archive: zipfile.ZipFile, member: str) -> int:
    """Return the bytes that an array takes, unpacked and as pixels, by its header."""
    with archive.open(member) as file:
        shape, dtype = _header(file)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > archive.getinfo(member).file_size:
        raise ValueError("the header does not fit the file")
    return count * dtype.itemsize + (0 if dtype == np.uint8 else count)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
    shape, _, dtype = read(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array
