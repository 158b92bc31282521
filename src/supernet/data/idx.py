"""Loading images from a folder of IDX files, the format of MNIST and similar data sets."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from supernet.data.arrays import Array
from supernet.data.images import Images
from supernet.data.limits import check_size
from supernet.data.parts import Found, Part, image_set
from supernet.data.resize import Size
from supernet.errors import UserError

_KINDS = {3: "images", 1: "labels"}  # by the number of dimensions: (N, H, W) and (N,)
_GZIP = b"\x1f\x8b"  # first bytes of a gzip file; names can be wrong, as browsers unpack some files


def holds_idx(folder: Path) -> bool:
    """Return whether `folder` has a file of training images in IDX format."""
    return _find(folder, "train", 3) is not None


def read_idx(folder: Path, image_size: Size | None, classes: Sequence[str] | None) -> Images:
    """Read train-images-idx3-ubyte and train-labels-idx1-ubyte and, if present, the two t10k files.

    Each file may be gzipped, with the suffix .gz. Classes are named by their numbers. Raises UserError that names the
    missing, damaged or wrong file or the mistake in its content.
    """
    test = any(_find(folder, "t10k", dimensions) for dimensions in _KINDS)
    parts = _part(folder, "train"), _part(folder, "t10k") if test else None
    return image_set(folder.resolve().name, f"'{folder}'", Found(*parts), image_size, classes)


def _name(part: str, dimensions: int) -> str:
    return f"{part}-{_KINDS[dimensions]}-idx{dimensions}-ubyte"


def _find(folder: Path, part: str, dimensions: int) -> Path | None:
    name = _name(part, dimensions)
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _part(folder: Path, part: str) -> Part:
    images, labels = (_find(folder, part, dimensions) for dimensions in _KINDS)
    if images is None or labels is None:
        raise UserError(f"'{folder}' has no file {_name(part, 3 if images is None else 1)}, or .gz")
    return Part(_read(images, 3), _read(labels, 1), images.name, labels.name)


def _read(path: Path, dimensions: int) -> Array:
    """Return the array of an IDX file of unsigned bytes; no more is unpacked than its header announces."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        try:
            with gzip.open(file) if packed else file as content:
                return _array(content, path, dimensions, None if packed else path.stat().st_size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UserError(f"cannot read '{path}': a gzip file that is cut off or damaged") from None


def _array(file: BufferedIOBase, path: Path, dimensions: int, length: int | None) -> Array:
    """Read the array of an unpacked file; a `length` of None is not known before its end."""
    head = 4 + 4 * dimensions
    start = file.read(head)
    magic = bytes([0, 0, 8, dimensions])  # 8: unsigned bytes
    if start[:4] != magic:
        begin = f"it begins with '{start[:4].hex()}', not '{magic.hex()}'"
        raise UserError(f"'{path}' is not an IDX file of {_KINDS[dimensions]}: {begin}")
    shape = tuple(int.from_bytes(start[place : place + 4], "big") for place in range(4, head, 4))
    count = math.prod(shape)
    check_size(2 * count, f"'{path}'")  # the bytes and their copy
    content = b"" if length not in (None, head + count) else file.read(count + 1)
    length, least = length or len(start) + len(content), "at least " if length is None and len(content) > count else ""
    if length != head + count:
        sizes = f"it has {least}{length} bytes, but by its header {head + count}"
        raise UserError(f"'{path}' is cut off or damaged: {sizes}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()  # torch needs writable memory
