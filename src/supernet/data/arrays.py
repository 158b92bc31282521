"""Checks and conversion of users' arrays to uint8 images (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.data.levels import Levels, to_bytes
from supernet.errors import UserError

Array = NDArray[Any]
_CHUNK = 2**22  # values converted at a time, unless a single image has more
_MOST = 4  # channels of an image of any shape
_WHITE = 255
_BLACK_AND_WHITE = (0, 1)  # the levels of integers that stand for False and True, or for floats from 0 to 1
_BRIGHT = 128  # floats from 0 to more than this are pixel values, even with fractions


class Scale(NamedTuple):
    """How values become pixels: found in the training images, used for all images of a set."""

    white: int | None = None  # the float that becomes 255: 1, also of False and True, or 255; None: they are integers
    levels: Levels | None = None  # None: integers from 0 to 255 are pixels
    note: str | None = None


def plain_array(values: object, name: str) -> Array:
    """Return an array, a tensor or nested lists as an array.

    Raises UserError, with the `name` of the values, for anything else, for parts of different shapes, and for a mask.
    """
    if isinstance(values, Tensor):
        values = plain_tensor(values)
    if isinstance(values, str | bytes) or not (isinstance(values, Sequence) or hasattr(values, "__array__")):
        raise UserError(f"{name} is of type {type(values).__name__}; expected an array or a tensor")
    if isinstance(values, np.ma.MaskedArray):
        raise UserError(f"{name} has a mask, and no value may be missing: leave images out, or fill in their values")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # of a list of parts of different shapes, or of a tensor in a list
        raise UserError(f"{name} cannot be made one array: give an array or a tensor") from None


def plain_tensor(tensor: Tensor) -> Array:
    """Return a tensor as an array; numpy has no bfloat16. Raises UserError for a tensor that numpy cannot hold."""
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        array: Array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    except (TypeError, RuntimeError):
        kind = f"{tensor.dtype} and {tensor.layout} on device {tensor.device}".replace("torch.", "")
        raise UserError(f"a tensor of {kind} cannot be read: give a dense one of integers or floats") from None
    return array


def pixels(array: Array, name: str, one: bool = False, *, levels: Levels | None = None) -> Tensor:
    """Return images as (N, C, H, W) uint8.

    `array` has shape (N, H, W), (N, H, W, C) or (N, C, H, W), see `with_channels`; with `one` it is a single image
    without N. Values are integers from 0 to 255, False and True, or floats in [0, 1], which are scaled and rounded;
    floats from 0 to 255 are pixel values if all are whole or some are above 128. Integers other than uint8 are mapped
    by `levels`, the values that become 0 and 255. Raises UserError, with the `name` of the array, for any other shape
    or values.
    """
    x = with_channels(array, name, one)
    return to_pixels(x, scale_in_run(levels, x, name))


def with_channels(array: Array, name: str, one: bool = False) -> Array:
    """Return images, or with `one` a single image without N, as a view (N, C, H, W) of the array.

    A last axis of at most 4 is the channels, unless a first one may be, of square images; otherwise a first one. More
    channels are found in square images, as the axis that differs from the two others. Raises UserError, with the `name`
    of the array, for any other shape.
    """
    x = array[None] if one else array
    if x.ndim and len(x) == 0:
        raise UserError(f"{name} holds no images")
    if x.ndim == 3 and 0 not in x.shape:
        return x[:, None]
    if x.ndim != 4 or 0 in x.shape:
        expected = "(H, W), (H, W, C) or (C, H, W)" if one else "(N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise UserError(f"{name} has shape {array.shape}; expected {expected} with C from 1 to 4")
    first, height, last = x.shape[1:]
    if first <= _MOST and height == last <= _MOST:
        raise _untold(array, name, f"give larger images, or grey ones as {'(H, W)' if one else '(N, H, W)'}")
    if last <= _MOST or (first > _MOST and first == height != last):
        return x.transpose(0, 3, 1, 2)
    if first > _MOST and not first != height == last:
        advice = "images of more than 4 channels must be square, with another side than the number of channels"
        raise _untold(array, name, advice)
    return x


def _untold(array: Array, name: str, advice: str) -> UserError:
    return UserError(f"{name} has shape {array.shape}, which does not tell channels from height and width: {advice}")


def scale_of(x: Array, name: str, wide: bool = True) -> Scale:
    """Return how the values of training images become pixels; `wide` allows integers beyond 0 to 255.

    Raises UserError, with the `name` of the array, for values that cannot be pixels.
    """
    if x.dtype == np.uint8:
        return Scale()
    if x.dtype.kind == "b":
        return Scale(white=1, note="False and True taken as black and white")
    if x.dtype.kind not in "iuf":
        raise UserError(f"{name} has dtype {x.dtype}; expected uint8, or floats in [0, 1]")
    if x.dtype.kind == "f":
        return _scale_of_floats(x, name)
    low, high = int(x.min()), int(x.max())
    if low >= 0 and high <= _WHITE:
        return Scale(note=f"{x.dtype} taken as pixel values")
    if not wide:
        raise UserError(f"{name} holds integers from {low} to {high}; expected 0 to 255")
    return Scale(levels=(low, high), note=f"{x.dtype} values {low} to {high} scaled to 0 to 255")


def scale_in_run(levels: Levels | None, x: Array, name: str) -> Scale:
    """Return how the values of images of another source become pixels, by the `levels` of a run.

    Those of uint8 are pixels, as in the images of a set that was loaded. Raises UserError as `scale_like` does.
    """
    return Scale() if x.dtype == np.uint8 else scale_like(Scale(levels=levels), x, name)


def scale_like(training: Scale, x: Array, name: str) -> Scale:
    """Return how the values of other images of a source become pixels: as those of the training images.

    Of another kind of numbers they are, where that is possible. Raises UserError, with the `name` of the array, for
    values that cannot be such pixels.
    """
    if x.dtype.kind in "iu" and training.levels is not None:
        return training
    if x.dtype.kind in "iu" and training.white == 1 and 0 <= int(x.min()) <= int(x.max()) <= 1:
        return Scale(levels=_BLACK_AND_WHITE)
    if x.dtype.kind != "f" or training.white is None:
        return scale_of(x, name, wide=False)
    low, high = _range(x, name)
    if not 0 <= low <= high <= training.white:
        raise _no_pixels(name, low, high)
    return training


def _scale_of_floats(x: Array, name: str) -> Scale:
    low, high = _range(x, name)
    if low >= 0 and high <= 1:
        return Scale(white=1)
    whole = (bool((x[part] == np.rint(x[part])).all()) for part in _chunks(x))
    if low >= 0 and high <= _WHITE and (high > _BRIGHT or all(whole)):
        return Scale(white=_WHITE, note="floats from 0 to 255 taken as pixel values")
    raise _no_pixels(name, low, high)


def _range(x: Array, name: str) -> tuple[float, float]:
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():  # a NaN makes both NaN
        raise UserError(f"{name} holds NaN or infinity")
    return low, high


def _no_pixels(name: str, low: float, high: float) -> UserError:
    advice = "give uint8 images, or floats in [0, 1] before normalisation"
    return UserError(f"{name} holds floats from {low:.4g} to {high:.4g}; {advice}")


def to_pixels(x: Array, scale: Scale) -> Tensor:
    """Return images (N, C, H, W) as uint8, by the scale that was found for them."""
    if x.dtype == np.uint8 and scale.levels is None:
        plain = x.flags.writeable and min(x.strides) >= 0  # what torch needs to share memory
        return torch.from_numpy(x if plain else x.copy())
    out = np.empty_like(x, dtype=np.uint8, subok=False)  # in the memory layout of x
    for part in _chunks(x):
        out[part] = _bytes(x[part], scale)
    return torch.from_numpy(out)


def _bytes(x: Array, scale: Scale) -> Array:
    if x.dtype.kind == "f":
        return np.rint(np.multiply(x, _WHITE // (scale.white or 1), dtype=np.float64))
    if x.dtype.kind == "b":
        return x * np.uint8(_WHITE)
    return x if scale.levels is None else to_bytes(x, scale.levels)


def _chunks(x: Array) -> Iterator[slice]:
    step = max(1, _CHUNK // x[0].size)
    return (slice(start, start + step) for start in range(0, len(x), step))
