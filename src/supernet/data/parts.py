"""Image sets from the arrays of a source: training images, and perhaps validation and test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from supernet.data.arrays import Array, Scale, scale_in_run, scale_like, scale_of, to_pixels, with_channels
from supernet.data.images import Images, Labelled
from supernet.data.labels import rule_of
from supernet.data.levels import Levels
from supernet.data.resize import Size, fit_arrays
from supernet.errors import UserError


class Part(NamedTuple):
    """The training, validation or test images of a source, unchecked, with the names of the arrays in the source."""

    x: Array | Tensor  # a tensor holds pixels (N, C, H, W) uint8 of their final size
    y: Array
    x_name: str
    y_name: str


class Found(NamedTuple):
    """What a source holds: its parts, the names of the classes 0, 1, ... if it has any, and notes of the reading.

    `scale` is that of training images which are pixels already.
    """

    train: Part
    test: Part | None = None
    validation: Part | None = None
    names: Sequence[str] | None = None
    scale: Scale = Scale()
    notes: tuple[str, ...] = ()


def image_set(
    name: str,
    source: str,
    found: Found,
    image_size: Size | None = None,
    classes: Sequence[str] | None = None,
    mirror: bool = True,
    *,
    levels: Levels | None = None,
    first_label: int = 0,
) -> Images:
    """Check the parts of an image set against each other and build the set; errors name `source`.

    Labels and values of all parts are taken by the rule of the training images, or, with `classes` and `levels`, by
    those of a run. Raises UserError as `with_channels`, `scale_of` and `rule_of` do, for different numbers of images
    and labels, and for other parts of a different shape or with a class that no training image has.
    """
    train = found.train
    known = levels is not None or classes is not None
    x, scale = _pixels(train, source, image_size, partial(scale_in_run, levels) if known else scale_of)
    scale = found.scale if isinstance(train.x, Tensor) else scale
    rule = rule_of(train.y, f"{train.y_name} of {source}", found.names, classes, first_label)

    def other(part: Part | None, kind: str) -> Labelled | None:
        if part is None:
            return None
        x_part, _ = _pixels(part, source, image_size, partial(scale_like, scale))
        if x_part.shape[1:] != x.shape[1:]:
            shapes = f"{tuple(x_part.shape[1:])} in {part.x_name}, {tuple(x.shape[1:])} in {train.x_name}"
            raise UserError(f"{kind} images of {source} have another shape (C, H, W) than training images: {shapes}")
        return x_part, rule(part.y, f"{part.y_name} of {source}")

    taken = (f"{train.x_name}: {scale.note}",) if scale.note else ()
    return Images.of(
        *(name, (x, rule(train.y, f"{train.y_name} of {source}")), rule.classes, other(found.test, "test"), mirror),
        validation=other(found.validation, "validation"),
        levels=scale.levels,
        notes=(*found.notes, *taken, *rule.notes),
        first_label=rule.first,
    )


def _pixels(
    part: Part, source: str, size: Size | None, scale_by: Callable[[Array, str], Scale]
) -> tuple[Tensor, Scale]:
    """Return pixels (N, C, H, W) and the scale of their values, which `scale_by` finds."""
    if isinstance(part.x, Tensor):
        x, scale = part.x, Scale()
    else:
        name = f"{part.x_name} of {source}"
        array = with_channels(part.x, name)
        scale = scale_by(array, name)
        x = fit_arrays(to_pixels(array, scale), size)
    if part.y.ndim and len(x) != len(part.y):
        counts = f"{len(x)} images but {part.y_name} has {len(part.y)} labels"
        raise UserError(f"{part.x_name} of {source} has {counts}")
    return x, scale
