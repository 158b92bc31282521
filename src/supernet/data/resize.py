"""Images of any size and mode brought to one: arrays by averaging, pictures (pillow) by its filters."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

LARGEST_DEFAULT = 32  # pixels: searching is done on small proxies, as NAS-Bench-201 does
_CHUNK = 1024  # images held as floats at once


def default_size(shorter_sides: Iterable[int]) -> int:
    """Return the side for images of different sizes: the median shorter side, but at most 32 pixels."""
    return min(LARGEST_DEFAULT, statistics.median_low(shorter_sides))


def fit_arrays(x: Tensor, size: int | None) -> Tensor:
    """Bring the middle square of images (N, C, H, W) uint8 to `size` pixels a side; None leaves them as they are.

    A side that `size` divides is averaged down: each new pixel is the rounded mean of a block of old ones. Any other
    is resized bilinearly with antialiasing.
    """
    if size is None:
        return x
    height, width = x.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = x[:, :, top : top + side, left : left + side]
    return square if side == size else torch.cat([_resized(part, size) for part in torch.split(square, _CHUNK)])


def _resized(x: Tensor, size: int) -> Tensor:
    block, rest = divmod(x.shape[2], size)
    if rest == 0:
        y = F.avg_pool2d(x.float(), block)
    else:
        y = F.interpolate(x.float(), size=(size, size), mode="bilinear", antialias=True)
    return y.round().clamp(0, 255).byte()


def fit_picture(picture: Image.Image, size: int | None) -> Tensor:
    """Return the middle square of a picture as (1, 3, size, size) uint8; None keeps its height and width.

    A side that `size` divides is averaged down like an array; any other is resized by Lanczos. Raises what pillow
    raises for damaged pictures, and ValueError for one that has no 8 or 16 bit values.
    """
    picture = _to_rgb(picture)
    if size is not None and min(picture.size) % size:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return fit_arrays(x[None], size)


def drop_grey(x: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) with a single channel if every pixel of every one of them is grey."""
    grey = all(bool((x[:, :1] == x[:, c : c + 1]).all()) for c in (1, 2))
    return x[:, :1] if grey else x


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says and make it RGB, what is transparent on white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = _from_16_bits(picture)
    if picture.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    values = np.array(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("it has 32-bit pixels; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 / 257 = 255
