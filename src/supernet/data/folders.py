"""Loading images from a folder of class folders, and single pictures."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from supernet.data.images import Images
from supernet.data.resize import default_size, drop_grey, shaped_picture, to_grey
from supernet.errors import UserError

EXTENSIONS = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)
_TEST = ("test", "val", "valid")  # the first existing one holds the test images
# The exceptions of pillow for damaged files of all formats
DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


def read_folder(
    root: Path, image_size: int | None, *, classes: Sequence[str] | None = None, skip_broken: bool = False
) -> Images:
    """Read `root/<class>/**` or `root/train/<class>/**` with an optional `root/test/<class>/**` (or val, valid).

    Classes are the sorted folder names. The first image of each class is followed by the second of each class, and so
    on, so that the first n images are balanced. Raises UserError that names the bad folder or file.
    """
    train, test = _parts(root)
    files = _files(train)
    if len(files) == 1:
        raise UserError(f"'{train}' has only one class folder, '{next(iter(files))}': at least 2 are needed")
    training = _interleave(files)
    every = training + ([] if test is None else _interleave(_test_files(test, files)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # about metadata; unreadable pictures raise errors
        size = image_size or default_size((_shorter_side(path) for _, path in training), len(every))
        x = drop_grey(torch.cat([_read(path, size, size) for _, path in every]))
    y = torch.from_numpy(np.array([label for label, _ in every], dtype=np.int64))
    n = len(training)
    return Images.of(root.resolve().name, (x[:n], y[:n]), tuple(files), (x[n:], y[n:]) if n < len(y) else None)


def read_picture(path: str | os.PathLike[str], channels: int, height: int, width: int) -> Tensor:
    """Read one picture for a network that was trained on pictures, as (1, channels, height, width) uint8.

    The picture is resized as in `read_folder`: the centre square if height and width are equal, otherwise the whole
    picture; one channel is grey. Raises UserError for a missing or damaged file, a file that is no image, channels
    other than 1 (grey) and 3 (RGB), and a height or width below 1.
    """
    if channels not in (1, 3):
        raise UserError(f"a picture is read with 1 channel (grey) or 3 (RGB), not {channels}")
    if min(height, width) < 1:
        raise UserError(f"a picture has at least 1 pixel a side, not {height}x{width}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # as in `read_folder`
        x = _read(Path(path).expanduser(), height, width)
    return to_grey(x) if channels == 1 else x


def _parts(root: Path) -> tuple[Path, Path | None]:
    """Return the training and the test folder; `root` itself if `root/train` is a class folder or missing."""
    folders = {path.name: path for path in _folders(root)}
    train = folders.get("train")
    if train is None or not (_folders(train) or set(folders) <= {"train", *_TEST}):
        return root, None
    return train, next((folders[name] for name in _TEST if name in folders), None)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(root: Path) -> dict[str, list[Path]]:
    """Return the image files per class folder, both sorted."""
    files = {folder.name: _images_under(folder) for folder in _folders(root)}
    if not files:
        raise UserError(f"'{root}' has no class folders: expected one folder of images for each class")
    for name, paths in files.items():
        if not paths:
            raise UserError(f"class folder '{root / name}' has no images ({', '.join(sorted(EXTENSIONS))})")
    return files


def _test_files(root: Path, training: dict[str, list[Path]]) -> dict[str, list[Path]]:
    files = _files(root)
    for name in files:
        if name not in training:
            raise UserError(f"test folder '{root / name}' is of no training class: {', '.join(training)}")
    return {name: files.get(name, []) for name in training}


def _images_under(folder: Path) -> list[Path]:
    def visible(path: Path) -> bool:
        return not any(part.startswith(".") for part in path.relative_to(folder).parts)

    images = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and visible(path))
    return sorted(path for path in images if path.is_file())


def _interleave(files: dict[str, list[Path]]) -> list[tuple[int, Path]]:
    """Return (label, path) of the first file of each class, the second of each class, and so on."""
    ranked = [(rank, label, path) for label, paths in enumerate(files.values()) for rank, path in enumerate(paths)]
    return [(label, path) for _, label, path in sorted(ranked)]


def _shorter_side(path: Path) -> int:
    with _opened(path) as picture:
        return min(picture.size)


def _read(path: Path, height: int, width: int) -> Tensor:
    """Return a picture as (1, 3, height, width) uint8, resized as in `read_picture`."""
    side = 4 * max(height, width)
    with _opened(path) as picture:
        picture.draft(None, (side, side))  # decodes a JPEG far larger than needed at a fraction of its size
        return shaped_picture(picture, height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except DAMAGED as error:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)  # strerror has no number and path
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else " ".join(text.split())
        raise UserError(f"cannot read image '{path}': {reason}") from None
