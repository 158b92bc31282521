"""Loading images from the files in which CIFAR-10 and CIFAR-100 are published, pickled or binary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from supernet.data.arrays import Array
from supernet.data.images import Images
from supernet.data.limits import check_size
from supernet.data.parts import Found, Part, image_set
from supernet.data.plain_pickle import PlainArray, read_pickle
from supernet.data.resize import Size
from supernet.errors import UserError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))


class Layout(NamedTuple):
    """The files of one published form of CIFAR."""

    folder: str  # the archive's
    train: tuple[str, ...]
    test: str
    names: str  # the file of the class names
    key: str  # in the pickles: of the class names
    labels: str  # in the pickles: of the labels
    columns: int = 1  # in binary files: bytes of labels before each image, the last of which counts

    @property
    def binary(self) -> bool:
        """Whether the files are records of bytes, and no pickles."""
        return self.test.endswith(".bin")


_LAYOUTS = (
    Layout("cifar-10-batches-py", _BATCHES, "test_batch", "batches.meta", "label_names", "labels"),
    Layout("cifar-100-python", ("train",), "test", "meta", "fine_label_names", "fine_labels"),
    Layout(
        *("cifar-10-batches-bin", tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin"),
        *("batches.meta.txt", "", ""),
    ),
    Layout("cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", "", "", columns=2),
)


def find_cifar(folder: Path) -> tuple[Path, Layout] | None:
    """Return the folder with CIFAR's files, `folder` or the archive's one in it, and their layout; None without any."""
    for layout in _LAYOUTS:
        for place in (folder, folder / layout.folder):
            telling = len(layout.train) > 1 or (place / layout.names).is_file()  # any file could be called "train"
            if telling and (place / layout.train[0]).is_file():
                return place, layout
    return None


def read_cifar(folder: Path, layout: Layout, image_size: Size | None, classes: Sequence[str] | None) -> Images:
    """Read the training images and, if present, the test images; of CIFAR-100 with its 100 fine classes.

    Raises UserError that names the missing, damaged or wrong file or the mistake in its content.
    """
    train, test, names = [folder / name for name in layout.train], folder / layout.test, folder / layout.names
    for path in (*train, names):
        if not path.is_file():
            raise UserError(f"'{folder}' has no file {path.name}")
    parts = [*train, test] if test.is_file() else train
    check_size(3 * sum(path.stat().st_size for path in parts), f"'{folder}'")  # as read, as images, and joined
    read = _binary if layout.binary else _pickled
    pairs = [read(path, layout) for path in train]
    x, y = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    tested = Part(*read(test, layout), f"images of {test.name}", f"labels of {test.name}") if test in parts else None
    found = Found(Part(x, y, "images", "labels"), tested, names=_names(names, layout))
    return image_set(folder.resolve().name, f"'{folder}'", found, image_size, classes)


def _pickled(path: Path, layout: Layout) -> tuple[Array, Array]:
    content = _mapping(path)
    x, y = content.get("data"), content.get(layout.labels)
    if not (isinstance(x, PlainArray) and x.values.ndim == 2 and x.values.shape[1] == _PIXELS):
        raise UserError(f"'{path}' has no array 'data' with {_PIXELS} bytes for each image")
    if not (isinstance(y, list) and len(y) == len(x.values) and all(type(label) is int for label in y)):
        raise UserError(f"'{path}' has no list '{layout.labels}' with an integer for each image")
    return x.values.reshape(-1, *_SHAPE), np.array(y)


def _binary(path: Path, layout: Layout) -> tuple[Array, Array]:
    record = layout.columns + _PIXELS
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) % record:
        raise UserError(f"'{path}' is cut off or damaged: {len(content)} bytes are no multiple of {record}")
    records = content.reshape(-1, record)
    return records[:, layout.columns :].reshape(-1, *_SHAPE), records[:, layout.columns - 1]


def _names(path: Path, layout: Layout) -> list[str]:
    """Return the names of the classes 0, 1, ..."""
    if layout.binary:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()]
    names = _mapping(path).get(layout.key)
    if not (isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)):
        raise UserError(f"'{path}' has no list '{layout.key}' of names")
    return [_text(name) for name in names]


def _mapping(path: Path) -> dict[str, Any]:
    content = read_pickle(path)
    items = content.items() if isinstance(content, dict) else ()
    return {_text(key): value for key, value in items if isinstance(key, str | bytes)}


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
