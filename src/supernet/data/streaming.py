"""Image sets that stay on a disk: what is listed of them, and what is found out from a sample of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from supernet.data.images import Images
from supernet.data.levels import Levels, levels_note
from supernet.data.pictures import head, range_of
from supernet.data.reading import broken_error, levels_in, read_all
from supernet.data.resize import default_size
from supernet.data.streamed import Readers, Store, Streamed, readers, sampled
from supernet.errors import UserError


class Listing(NamedTuple):
    """The pictures of a source that is not read yet, and what was left out in listing them.

    The store holds those of training first, then those of validation, then those of test, in the order of the labels.
    """

    name: str
    store: Store
    labels: Mapping[str, Tensor]  # of the parts training, validation and test, which may be empty
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def streamed_set(
    listing: Listing, size: int | None, *, levels: Levels | None = None, skip_broken: bool = False, known: bool = False
) -> Images:
    """Return the image set of a listing, whose pixels stay on the disk.

    Of at most 4096 training images, evenly spaced, are found: the default size, which is the median shorter side up to
    224 pixels; the levels of pictures of more than 8 bits; whether all are grey; mean and standard deviation. Raises
    UserError that names the pictures among them that cannot be read. With `skip_broken` every picture is decoded once,
    and those that cannot be are left out; unless the classes are `known`, those of a run, each needs one that is left.
    """
    ends = torch.tensor([len(y) for y in listing.labels.values()]).cumsum(0).tolist()
    numbers = dict(zip(listing.labels, torch.tensor_split(torch.arange(ends[-1]), ends[:-1]), strict=True))
    sides, levels = _found(listing.store, numbers["training"], levels, skip_broken=skip_broken)
    side = size or default_size(sides)
    pixels = Streamed(Readers(listing.store, (3, side, side), levels), torch.arange(ends[-1]))
    broken = pixels.broken() if skip_broken else {}
    kept = {name: part[[number not in broken for number in part.tolist()]] for name, part in numbers.items()}
    labels = torch.cat([*listing.labels.values()])
    if not known:
        check_present(labels[kept["training"]], listing.classes)
    if pixels[kept["training"]].sample().is_grey():
        pixels = pixels.as_grey()
    train, validation, test = ((pixels[part], labels[part]) for part in kept.values())
    notes = (f"streamed from disk, {readers()} processes decode", *([levels_note(levels)] if levels else []))
    return Images.of(
        *(listing.name, train, listing.classes, test if len(test[1]) else None),
        validation=validation if len(validation[1]) else None,
        levels=levels,
        notes=(*notes, *listing.notes, *([f"{len(broken)} broken, left out"] if broken else [])),
        left_out=(*listing.left_out, *broken.values()),
        broken=len(broken),
    )


def _found(
    store: Store, numbers: Tensor, levels: Levels | None, *, skip_broken: bool
) -> tuple[list[int], Levels | None]:
    """Return the shorter sides of some pictures, and their levels if they have more than 8 bits."""
    broken: dict[int, str] = {}
    heads = read_all(sampled(numbers).tolist(), lambda number: head(store.picture(number)), broken)
    if levels is None:
        deep = [number for number, found in heads.items() if found.deep]
        levels = levels_in(deep, lambda number: range_of(store.picture(number)), broken)
    if broken and (not skip_broken or not heads):
        raise broken_error({str(store.picture(number)): why for number, why in broken.items()})
    return [found.side for found in heads.values()], levels


def check_present(y: Tensor, classes: Sequence[str]) -> None:
    """Raise UserError if a class has no label among `y`."""
    empty = set(range(len(classes))) - set(torch.unique(y).tolist())
    if empty:
        raise UserError(f"class '{classes[min(empty)]}' has no image that can be read")
