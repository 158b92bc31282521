"""Reading single pictures: formats, damaged files, and what a picture says of itself before it is decoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from supernet.data.levels import Levels
from supernet.data.limits import PIXELS_VARIABLE, most_pixels
from supernet.data.resize import Size, fit_picture, sides, to_grey
from supernet.errors import UserError

EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff"),
        "webp",
    )
)
# Whatever a file is called, no other format is tried: some of pillow's readers start other programs
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


class Packed(NamedTuple):
    """The bytes of a picture in a larger file, and the name that messages call it by."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


Encoded = Path | Packed
"""A picture that is not decoded yet."""


class Head(NamedTuple):
    """What a picture says of itself: its shorter side in pixels, and bits per value if there are more than 8.

    - `deep`: whether it has one channel of more than 8 bits, which is read with all of them.
    - `cut`: whether it has several, of which pillow reads the upper 8 bits alone.
    """

    side: int
    deep: bool
    cut: bool


def head(path: Encoded) -> Head:
    """Return the head of a picture; raises UserError for a file that is none."""
    with opened(path) as picture:
        raw = str(getattr(picture, "tile", ""))  # how its values are stored
        deep = picture.mode.startswith("I")
        return Head(min(picture.size), deep, not deep and ";16" in raw)


def range_of(path: Encoded) -> Levels:
    """Return the least and the largest value of a picture."""
    with opened(path) as picture:
        values = np.asarray(picture)
        return int(values.min()), int(values.max())


def read(path: Encoded, size: Size, levels: Levels | None = None) -> Tensor:
    """Return a picture as (1, 3, H, W) uint8, resized as by `read_picture`."""
    side = 4 * max(sides(size))
    with opened(path) as picture:
        picture.draft(None, (side, side))  # decodes a JPEG far larger than needed at a fraction of its size
        return fit_picture(picture, size, levels)


def read_picture(
    path: str | os.PathLike[str], channels: int, height: int, width: int, levels: Levels | None = None
) -> Tensor:
    """Read one picture for a network that was trained on pictures, as (1, channels, height, width) uint8.

    The picture is resized as in `read_folder`: the centre square if height and width are equal, otherwise the whole
    picture; one channel is grey. Values of more than 8 bits are scaled from `levels`; None is all 16 bits. Raises
    UserError for a missing or damaged file, a file that is no image, channels other than 1 (grey) and 3 (RGB), and a
    height or width below 1.
    """
    if channels not in (1, 3):
        raise UserError(f"a picture is read with 1 channel (grey) or 3 (RGB), not {channels}")
    if min(height, width) < 1:
        raise UserError(f"a picture has at least 1 pixel a side, not {height}x{width}")
    x = read(path_of(path), (height, width), levels)
    return to_grey(x) if channels == 1 else x


def path_of(name: str | os.PathLike[str]) -> Path:
    """Return the path that a user means, with the home folder for ~ and ~name, unless there is nobody of this name."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - that of Path raises RuntimeError then


@contextmanager
def opened(path: Encoded) -> Iterator[Image.Image]:
    """Open a picture; raises UserError for whatever is wrong with the file, until the end of the block."""
    with readable(f"image '{path}'"):
        if isinstance(path, Packed):
            with Image.open(BytesIO(path.content), formats=formats()) as picture:
                yield picture
            return
        if not path.is_file() and path.exists() and not path.is_dir():
            raise OSError("not a regular file")  # opening a pipe would wait for ever
        with Image.open(path, formats=formats()) as picture:
            yield picture


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn everything that pillow raises for a damaged picture into a UserError that calls it `what`."""
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, int(most_pixels())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # about metadata; unreadable pictures raise errors
            warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
            yield
    except UserError:
        raise
    except Exception as error:  # of any kind: pillow's readers raise what a damaged file makes of them
        raise UserError(f"cannot read {what}: {_complaint(error)}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _complaint(error: Exception) -> str:
    """Return what pillow says of a damaged picture, in one line."""
    match error:
        case UnidentifiedImageError():
            return "not an image"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            limit = f"{most_pixels() / 1e6:,.4g} million pixels"
            return f"it has more than {limit}: make it smaller, or set {PIXELS_VARIABLE} to a larger number"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)  # strerror has no number and path
    return " ".join(text.split()) or type(error).__name__


@cache
def formats() -> tuple[str, ...]:
    """Return pillow's names of the formats that are read, as far as this build of it has them."""
    Image.init()  # otherwise pillow knows only some
    return tuple(name for name in _FORMATS if name in Image.OPEN)
