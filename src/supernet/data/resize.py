"""Resizing: arrays by averaging or interpolation, pictures (pillow) by its filters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image
from torch import Tensor

from supernet.data.levels import FULL, Levels, to_bytes

LARGEST_DEFAULT = 224  # pixels: the side of images in networks for ImageNet
LARGEST_SET = 2 * 10**9  # bytes of memory of all pictures together, at three bytes per pixel
_CHUNK = 1024  # images held as floats at a time
_RGB = 3  # channels
_FEW = 64  # pictures held as integers of 32 bits at a time
_TURNS = {  # of the EXIF orientations
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Size = int | tuple[int, int]
"""What images are brought to: the side of a square in pixels, or height and width; equal ones are a square, too."""


def sides(size: Size) -> tuple[int, int]:
    """Return height and width."""
    return (size, size) if isinstance(size, int) else size


def default_size(shorter_sides: Iterable[int], count: int = 1) -> int:
    """Return the default side in pixels for `count` pictures of different sizes, some or all with these shorter sides.

    The default is the median shorter side, limited to 224 pixels and to 2 GB of memory for all pictures.
    """
    return min(LARGEST_DEFAULT, math.isqrt(LARGEST_SET // (3 * count)), statistics.median_low(shorter_sides))


def fit_arrays(x: Tensor, size: Size | None) -> Tensor:
    """Resize images (N, C, H, W) uint8, for a square their centre square, to a size; None returns them unchanged.

    Sides that are multiples of the new ones are averaged: each new pixel is the rounded mean of a block of old ones.
    Any others are resized bilinearly with antialiasing.
    """
    if size is None:
        return x
    height, width = sides(size)
    if height == width:
        side = min(x.shape[2:])
        top, left = (x.shape[2] - side) // 2, (x.shape[3] - side) // 2
        x = x[:, :, top : top + side, left : left + side]
    if x.shape[2:] == (height, width):
        return x
    return torch.cat([_resized(part, height, width) for part in torch.split(x, _CHUNK)])


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[2] % height == 0 and x.shape[3] % width == 0:
        y = F.avg_pool2d(x.float(), (x.shape[2] // height, x.shape[3] // width))
    else:
        y = F.interpolate(x.float(), size=(height, width), mode="bilinear", antialias=True)
    return y.round().clamp(0, 255).byte()


def fit_picture(picture: Image.Image, size: Size | None, levels: Levels | None = None) -> Tensor:
    """Return a picture as (1, 3, H, W) uint8 of a size: for a square its centre square, otherwise, or for None, all.

    Sides that are multiples of the new ones are averaged like those of an array; any others are resized by Lanczos.
    Values of more than 8 bits are scaled from `levels`; None is all 16 bits. Raises pillow's exceptions for damaged
    pictures, and ValueError for a picture without 8 or 16 bit values.
    """
    picture = _to_rgb(picture, levels)
    if size is None:
        return _values(picture)
    height, width = sides(size)
    left, top, across, down = 0, 0, *picture.size
    if height == width:
        across = down = min(picture.size)
        left, top = (picture.width - across) // 2, (picture.height - down) // 2
    if down % height or across % width:
        picture = _filtered(picture, height, width, (left, top, left + across, top + down))
    return fit_arrays(_values(picture), size)


def _filtered(picture: Image.Image, height: int, width: int, box: tuple[int, int, int, int]) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _values(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def to_grey(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) uint8 as one channel, the luma of ITU-R 601; grey pixels keep their values."""
    return torch.cat([_luma(part) for part in torch.split(x, _FEW)])


def _luma(x: Tensor) -> Tensor:
    red, green, blue = x.int().unbind(dim=1)
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16  # .299, .587 and .114 in pillow's integers
    return luma.byte()[:, None]


def in_channels(x: Tensor, channels: int | None) -> Tensor:
    """Return pictures (N, 3, H, W) as grey or RGB, with 1 or 3 `channels`; otherwise they are grey if all are."""
    return to_grey(x) if channels == 1 or (channels != _RGB and are_grey(x)) else x


def are_grey(x: Tensor) -> bool:
    """Return whether every pixel of pictures (N, 3, H, W) is grey."""
    return all(bool((x[:, :1] == x[:, c : c + 1]).all()) for c in (1, 2))


def _to_rgb(picture: Image.Image, levels: Levels | None) -> Image.Image:
    """Return the picture as RGB, rotated by its EXIF orientation, with transparent parts on white."""
    picture.load()  # some formats have the orientation behind the pixels
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is not None:  # ImageOps.exif_transpose would write all EXIF data anew, and fails for some that is damaged
        picture = picture.transpose(turn)
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
        raise ValueError("it has values outside 0 to 65535; save it with 8 or 16 bits")
    return Image.fromarray(to_bytes(values, levels))
