"""Loading images from a torch Dataset, or one of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from supernet.data.arrays import Array, Scale, plain_array, scale_in_run, scale_like, scale_of, to_pixels, with_channels
from supernet.data.images import Images
from supernet.data.items import HuggingFace, Items, class_names, plain_label, stacked
from supernet.data.levels import Levels, levels_note
from supernet.data.limits import check_size
from supernet.data.parts import Found, Part, image_set
from supernet.data.pictures import readable
from supernet.data.reading import levels_in
from supernet.data.resize import Size, default_size, fit_arrays, fit_picture, in_channels
from supernet.errors import UserError

_FIRST = 8  # items that are read once more than others, for the range of floats and to find random transforms
_ON_ITS_SIDE = 5  # the first of the EXIF orientations that exchange width and height
_RANDOM = (
    "gives other pixels each time: read once, as they came; take the random transforms out, supernet augments itself"
)


def read_dataset(
    dataset: Dataset[Any] | HuggingFace,
    image_size: Size | None,
    *,
    classes: Sequence[str] | None,
    levels: Levels | None,
    channels: int | None,
    first_label: int,
    skip_broken: bool,
) -> Images:
    """Read every (image, label) of `dataset`.

    Pictures (pillow) are read once more for a common size where none is given, and once more for `levels` where they
    have more than 8 bits and none are given, unless `classes` are those of a run; they are resized, and grey or RGB,
    like those of a folder. Arrays and tensors must all have the same shape, (H, W), (H, W, C) or (C, H, W). With
    `skip_broken`, items that raise errors are left out. Raises UserError that names the first bad item, and for any
    mistake in all of them as `image_set` does.
    """
    name = type(dataset).__name__
    if not isinstance(dataset, Sized):
        raise UserError(f"{name} has no length: a Dataset with __len__ and __getitem__ is needed")
    if len(dataset) == 0:
        raise UserError(f"{name} holds no images")
    found = _read(Items(dataset, skip_broken), image_size, name, levels, channels, known=classes is not None)
    names, y = class_names(dataset), found.train.y
    if names is not None and isinstance(dataset, Subset | ConcatDataset) and y.dtype.kind in "iu" and y.ndim == 1:
        names = names[: int(y.max()) + 1]  # a part may lack the last classes
    return image_set(name, name, found._replace(names=names), classes=classes, first_label=first_label)


def _read(
    items: Items, size: Size | None, name: str, levels: Levels | None, channels: int | None, *, known: bool
) -> Found:
    first: dict[int, Any] = {}
    with suppress(Exception):  # it is raised below, after the mistakes of items before
        first.update((index, image) for index, image, _ in islice(items, _FIRST))
    pictures = isinstance(next(iter(first.values()), None), Image.Image)
    if pictures and size is None:
        size = _picture_size(items)
    scale, unsought = _scale(first, name), levels is None and not known
    parts: list[Array] = []
    labels: list[Any] = []
    same, start = True, 0
    for index, image, label in items:
        item = f"item {index} of {name}"
        if unsought and _is_deep(image):  # the first one: those before need no levels
            levels, unsought = _levels(items), False
        try:
            with readable(f"the image of {item}"):
                part = fit_picture(image, size, levels).numpy() if isinstance(image, Image.Image) else None
        except UserError as error:
            if not items.skip_broken:
                raise
            items.leave_out(index, error)
            continue
        parts.append(_pixels(image, size, item, scale) if part is None else part)
        if len(parts) == 1:
            start = index
            check_size(2 * len(items.dataset) * parts[0].nbytes, name)
        _check_alike(parts, item, start)
        labels.append(plain_label(label, item))
        same = same and (index not in first or _equal(first.pop(index), image))
    if not parts:
        raise UserError(f"no item of {name} can be read: {items.broken[min(items.broken)]}")
    if pictures and levels:
        scale = Scale(levels=levels, note=levels_note(levels))
    x, scale = _joined(parts, size, name, scale, levels, known=known)
    notes = items.note if same else (*items.note, f"{name} {_RANDOM}")
    train = Part(in_channels(x, channels) if pictures else x, stacked(labels, name), "images", "labels")
    return Found(train, scale=scale, notes=notes)


def _picture_size(items: Items) -> int | None:
    sizes = [_turned(image) for _, image, _ in items if isinstance(image, Image.Image)]
    return None if len(set(sizes)) == 1 else default_size((min(size) for size in sizes), len(sizes))


def _turned(picture: Image.Image) -> tuple[int, int]:
    """Return the width and height of a picture as its EXIF orientation has them: from 5 on it lies on its side."""
    width, height = picture.size
    with suppress(UserError), readable("it"):  # that it cannot be read is said, or noted, when it is needed
        exif = picture.getexif()
        # pillow has turned the size of a TIFF already; of other files, the width there may be that of an original
        stored = exif.get(ExifTags.Base.ImageWidth, width) if picture.format == "TIFF" else width
        if exif.get(ExifTags.Base.Orientation, 1) >= _ON_ITS_SIDE and stored == width:
            return height, width
    return width, height


def _is_deep(image: object) -> bool:
    return isinstance(image, Image.Image) and image.mode.startswith("I")


def _levels(items: Items) -> Levels | None:
    """Return the levels of pictures of more than 8 bits, of those that can be read; None if there are none."""
    ranges: dict[int, Levels] = {}
    for index, image, _ in items:
        if _is_deep(image):
            with suppress(UserError), readable("it"):  # that it cannot be read is said, or noted, when it is needed
                values = np.asarray(image)
                ranges[index] = int(values.min()), int(values.max())
    return levels_in(ranges, ranges.__getitem__, {})


def _array(image: object, item: str) -> Array:
    """Return an image that is no picture as an array (1, C, H, W)."""
    if not isinstance(image, Tensor | np.ndarray):
        raise UserError(f"{item} has an image of type {type(image).__name__}; expected a PIL image, array or tensor")
    return with_channels(plain_array(image, item), item, one=True)


def _scale(first: dict[int, Any], name: str) -> Scale:
    """Return the scale of the first images: of floats that of the brightest, since a dark one may not tell."""
    images = {f"item {i} of {name}": image for i, image in first.items() if not isinstance(image, Image.Image)}
    arrays = {item: _array(image, item) for item, image in images.items()}
    peaks = {item: float(x.max()) if x.dtype.kind == "f" else -1.0 for item, x in arrays.items()}
    brightest = max(peaks, key=peaks.__getitem__, default=None)
    return Scale() if brightest is None else scale_of(arrays[brightest], brightest)


def _pixels(image: object, size: Size | None, item: str, scale: Scale) -> Array:
    """Return an image (1, C, H, W): uint8, or integers whose scale is known when all are read."""
    x = _array(image, item)
    if x.dtype.kind in "iu" and x.dtype != np.uint8:
        return x
    pixels: Array = fit_arrays(to_pixels(x, scale_like(scale, x, item)), size).numpy()
    return pixels


def _joined(
    parts: list[Array], size: Size | None, name: str, scale: Scale, levels: Levels | None, *, known: bool
) -> tuple[Tensor, Scale]:
    x, name = np.concatenate(parts), f"images of {name}"
    if x.dtype == np.uint8:
        return torch.from_numpy(x), scale
    scale = scale_in_run(levels, x, name) if known or levels is not None else scale_of(x, name)
    return fit_arrays(to_pixels(x, scale), size), scale


def _check_alike(parts: list[Array], item: str, start: int) -> None:
    """Raise UserError if the last of the images differs in shape or type from the first, of item number `start`."""
    first, last = (part.shape[1:] for part in (parts[0], parts[-1]))
    if first != last:
        raise UserError(
            f"{item} has another shape (C, H, W) than item {start}: {last}, not {first}; give all one shape"
        )
    if parts[0].dtype != parts[-1].dtype:
        raise UserError(f"{item} has dtype {parts[-1].dtype} and item {start} {parts[0].dtype}: give all one type")


def _equal(one: object, other: object) -> bool:
    """Return whether an image that was read twice is the same."""
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and np.array_equal(one, other)  # type: ignore[arg-type]
