"""Image sets of pictures that are listed, not yet read: read into memory, or left on the disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.data.images import Images
from supernet.data.levels import Levels, levels_note
from supernet.data.limits import check_size, is_for_streaming
from supernet.data.pictures import head, range_of, read
from supernet.data.reading import broken_error, levels_in, read_all
from supernet.data.resize import Size, default_size, in_channels, sides
from supernet.data.streamed import Pixels, Readers, Store, Streamed, readers, sampled
from supernet.errors import UserError

_SMALLER = "take a smaller --image-size, or leave the pictures on the disk with --stream"  # what helps in little memory


class Listing(NamedTuple):
    """The pictures of a source that is not read yet, and what was left out in listing them.

    `numbers` in the store and `labels` are those of the parts training, validation and test, which may be empty.
    """

    name: str
    source: str  # as messages call it
    store: Store
    numbers: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    left_out: Mapping[Path, str] = {}  # files and folders, each with the reason
    unfit: str | None = None  # why it cannot be streamed
    first_label: int = 0  # that of the first class, where the source names them


def interleaved(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the first label of each class, then of the second of each class, and so on."""
    by_class = np.argsort(labels, kind="stable")
    ranked = labels[by_class]
    ranks = np.arange(len(labels)) - np.searchsorted(ranked, ranked)
    return by_class[np.argsort(ranks, kind="stable")]


def read_listing(
    listing: Listing,
    size: Size | None,
    *,
    levels: Levels | None,
    channels: int | None,
    skip_broken: bool,
    known: bool,
    stream: bool | None,
) -> Images:
    """Return the image set of a listing; with `stream` its pixels stay on the disk: see `streamed_set`.

    None decides by memory, if the `size` is given. Raises UserError that names the pictures that cannot be read;
    `skip_broken` leaves them out, but unless the classes are `known`, those of a run, each needs one to train on. With
    `known` classes, `levels` are those of the run, too, and pictures of 16 bits are read whole if it had none. With
    1 or 3 `channels` pictures are grey or RGB; otherwise they are grey if all images are.
    """
    count = sum(map(len, listing.labels.values()))
    if stream is None:
        stream = size is not None and is_for_streaming(_needed(count, size))
    if stream and listing.unfit:
        raise UserError(listing.unfit)
    read_set = streamed_set if stream else kept_set
    return read_set(listing, size, levels=levels, channels=channels, skip_broken=skip_broken, known=known)


def _needed(count: int, size: Size) -> int:
    return 2 * count * 3 * math.prod(sides(size))  # bytes: twice while they are put together


def kept_set(
    listing: Listing,
    size: Size | None,
    *,
    levels: Levels | None,
    channels: int | None,
    skip_broken: bool,
    known: bool,
) -> Images:
    """Return the image set of a listing, read into memory."""
    store, broken = listing.store, dict[int, str]()
    order = torch.cat([*listing.numbers.values()]).tolist()
    heads = read_all(sorted(order), lambda number: head(store.picture(number)), broken)  # sorted: from front to end
    training = [number for number in listing.numbers["training"].tolist() if number in heads]
    if levels is None and not known:
        deep = [number for number in training if heads[number].deep]
        levels = levels_in(deep, lambda number: range_of(store.picture(number)), broken)
    size = size or default_size((heads[number].side for number in training), len(heads)) if training else size or 1
    check_size(_needed(len(heads), size), f"{listing.source} at {max(sides(size))} pixels a side", _SMALLER)
    pixels = read_all(heads, lambda number: read(store.picture(number), size, levels), broken)
    broken = {number: broken[number] for number in order if number in broken}
    if broken and not skip_broken:
        raise broken_error({store.name(number): why for number, why in broken.items()})
    labels = _readable(listing, torch.tensor([number in pixels for number in order]), known=known)
    x = in_channels(torch.cat([pixels.pop(number) for number in order if number in pixels]), channels)
    cut = sum(found.cut for found in heads.values())
    notes = [f"{cut} with 16 bits a colour, of which the upper 8 are read"] if cut else []
    if levels is None and not known and (whole := sum(found.deep for found in heads.values())):
        notes.append(f"{whole} with 16 bits beside training images of 8: values 0 to 65535 read as black to white")
    return _image_set(listing, x, labels, levels, broken, notes)


def streamed_set(
    listing: Listing,
    size: Size | None,
    *,
    levels: Levels | None,
    channels: int | None,
    skip_broken: bool,
    known: bool,
) -> Images:
    """Return the image set of a listing, whose pixels stay on the disk.

    Of at most 4096 training images, evenly spaced, are found: the default size, which is the median shorter side up to
    224 pixels; the levels of pictures of more than 8 bits; mean and standard deviation; and of as many of all images
    whether they are grey. Only the pictures among them that cannot be read are named; with `skip_broken` every picture
    is decoded once.
    """
    shorter, levels = _found(listing.store, listing.numbers["training"], levels, skip_broken=skip_broken, known=known)
    shape = (3, *sides(size or default_size(shorter)))
    pixels = Streamed(Readers(listing.store, shape, levels), torch.cat([*listing.numbers.values()]))
    broken = pixels.broken() if skip_broken else {}
    readable = torch.ones(len(pixels), dtype=torch.bool)
    readable[list(broken)] = False
    labels, pixels = _readable(listing, readable, known=known), pixels[readable]
    if channels == 1 or (channels != 3 and pixels.sample().is_grey()):
        pixels = pixels.as_grey()
    return _image_set(listing, pixels, labels, levels, broken, (), f"streamed from disk, {readers()} processes decode")


def _found(
    store: Store, numbers: Tensor, levels: Levels | None, *, skip_broken: bool, known: bool
) -> tuple[list[int], Levels | None]:
    """Return the shorter sides of some pictures, and their levels if they have more than 8 bits."""
    broken: dict[int, str] = {}
    heads = read_all(sampled(numbers).tolist(), lambda number: head(store.picture(number)), broken)
    if levels is None and not known:
        deep = [number for number, found in heads.items() if found.deep]
        levels = levels_in(deep, lambda number: range_of(store.picture(number)), broken)
    if broken and (not skip_broken or not heads):
        raise broken_error({store.name(number): why for number, why in broken.items()})
    return [found.side for found in heads.values()], levels


def _readable(listing: Listing, readable: Tensor, *, known: bool) -> dict[str, Tensor]:
    """Return the labels of pictures that can be read; raises UserError without one to train on, of each new class."""
    masks = torch.split(readable, [*map(len, listing.labels.values())])
    labels = {part: y[mask] for (part, y), mask in zip(listing.labels.items(), masks, strict=True)}
    if not len(labels["training"]):
        raise UserError(f"{listing.source} has no training image that can be read")
    empty = set(range(len(listing.classes))) - set(torch.unique(labels["training"]).tolist())
    if empty and not known:
        raise UserError(f"class '{listing.classes[min(empty)]}' has no image that can be read")
    return labels


def _image_set(
    listing: Listing,
    x: Pixels,
    labels: Mapping[str, Tensor],
    levels: Levels | None,
    broken: Mapping[int, str],
    converted: Sequence[str],
    *notes: str,
) -> Images:
    """Return the set of the pixels of all parts in turn."""
    y = torch.cat([*labels.values()])
    ends = np.cumsum([0, *map(len, labels.values())]).tolist()
    train, *others = ((x[a:b], y[a:b]) for a, b in pairwise(ends))
    validation, test = (part if len(part[1]) else None for part in others)
    skipped = [f"{len(broken)} broken, left out"] if broken else []
    found = [levels_note(levels)] if levels else []
    return Images.of(
        *(listing.name, train, listing.classes, test),
        validation=validation,
        levels=levels,
        notes=(*notes, *found, *converted, *listing.notes, *_kinds(listing.left_out), *skipped),
        left_out=(*(f"{path}: {reason}" for path, reason in listing.left_out.items()), *broken.values()),
        broken=len(broken),
        first_label=listing.first_label,
    )


def _kinds(left_out: Mapping[Path, str]) -> Iterator[str]:
    if left_out:
        kinds = Counter(path.suffix.lower() or path.name for path in left_out)
        yield f"{len(left_out)} left out ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common(3))})"
