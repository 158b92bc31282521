"""Resizing: arrays by averaging or interpolation, pictures (pillow) by its filters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from supernet.data.levels import FULL, Levels, to_bytes

LARGEST_DEFAULT = 224  # pixels: the side of images in networks for ImageNet
LARGEST_SET = 2 * 10**9  # bytes of memory of all pictures together, at three bytes per pixel
_CHUNK = 1024  # images held as floats at a time


def default_size(shorter_sides: Iterable[int], count: int = 1) -> int:
    """Return the default side in pixels for `count` pictures of different sizes, some or all with these shorter sides.

    The default is the median shorter side, limited to 224 pixels and to 2 GB of memory for all pictures.
    """
    return min(LARGEST_DEFAULT, math.isqrt(LARGEST_SET // (3 * count)), statistics.median_low(shorter_sides))


def fit_arrays(x: Tensor, size: int | None) -> Tensor:
    """Resize the centre square of images (N, C, H, W) uint8 to `size` pixels a side; None returns them unchanged.

    A side that is a multiple of `size` is averaged: each new pixel is the rounded mean of a block of old ones. Any
    other side is resized bilinearly with antialiasing.
    """
    if size is None:
        return x
    height, width = x.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = x[:, :, top : top + side, left : left + side]
    return square if side == size else torch.cat([_resized(part, size, size) for part in torch.split(square, _CHUNK)])


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[2] % height == 0 and x.shape[3] % width == 0:
        y = F.avg_pool2d(x.float(), (x.shape[2] // height, x.shape[3] // width))
    else:
        y = F.interpolate(x.float(), size=(height, width), mode="bilinear", antialias=True)
    return y.round().clamp(0, 255).byte()


def fit_picture(picture: Image.Image, size: int | None, levels: Levels | None = None) -> Tensor:
    """Return the centre square of a picture as (1, 3, size, size) uint8; None keeps the whole picture and its size.

    A side that is a multiple of `size` is averaged like an array; any other is resized by Lanczos. Values of more than
    8 bits are scaled from `levels`; None is all 16 bits. Raises pillow's exceptions for damaged pictures, and
    ValueError for a picture without 8 or 16 bit values.
    """
    picture = _to_rgb(picture, levels)
    if size is not None and min(picture.size) % size:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = _filtered(picture, size, size, (left, top, left + side, top + side))
    return fit_arrays(_values(picture), size)


def shaped_picture(picture: Image.Image, height: int, width: int, levels: Levels | None = None) -> Tensor:
    """Return a picture as (1, 3, height, width) uint8: its centre square for equal sides, otherwise all of it.

    Filters, levels and exceptions are those of `fit_picture`.
    """
    if height == width:
        return fit_picture(picture, height, levels)
    picture = _to_rgb(picture, levels)
    if picture.height % height or picture.width % width:
        picture = _filtered(picture, height, width, (0, 0, *picture.size))
    return _resized(_values(picture), height, width)


def _filtered(picture: Image.Image, height: int, width: int, box: tuple[int, int, int, int]) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _values(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def to_grey(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) uint8 as one channel, the luma of ITU-R 601; grey pixels keep their values."""
    red, green, blue = x.int().unbind(dim=1)
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16  # .299, .587 and .114 in pillow's integers
    return luma.byte()[:, None]


def drop_grey(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) with a single channel if every pixel of every picture is grey."""
    grey = all(bool((x[:, :1] == x[:, c : c + 1]).all()) for c in (1, 2))
    return x[:, :1] if grey else x


def _to_rgb(picture: Image.Image, levels: Levels | None) -> Image.Image:
    """Return the picture as RGB, rotated by its EXIF orientation, with transparent parts on white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = _from_16_bits(picture, levels or FULL)
    if picture.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _from_16_bits(picture: Image.Image, levels: Levels) -> Image.Image:
    values = np.asarray(picture)
    if values.min() < FULL[0] or values.max() > FULL[1]:
        raise ValueError("it has 32-bit pixels; save it with 8 or 16 bits")
    return Image.fromarray(to_bytes(values, levels))
