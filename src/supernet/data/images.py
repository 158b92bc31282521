"""Images: a labelled image set, in memory or on a disk, and its first images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from supernet.data.levels import Levels
from supernet.data.streamed import Pixels, Streamed
from supernet.errors import UserError

_CHUNK = 1024  # images whose squares are held at a time; sums over more than 33 025 images could exceed 32 bits
_CHUNK_VALUES = 2**24  # values held at a time, unless a single image has more
_SHOWN, _LONG = 5, 24  # class names that one line has, and letters of a name
_STD_FLOOR = 1 / 255  # one grey level: a channel that varies less carries no information


Labelled = tuple[Pixels, Tensor]
"""Images (N, C, H, W) uint8 and their labels (N,) int64."""


@dataclass(frozen=True, eq=False)
class Images:
    """A labelled image set; the pixels are in channels_last memory, or `Streamed` from a disk.

    `mean` and `std` are per channel, of x/255 over `x`; of a stream, over its sample. `fingerprint`
    identifies the data of a run: it is a hash of the shapes, pixels, labels and class names of training and test
    images. Of a stream it has the names and sizes of the files in the place of pixels. Where the source gives
    validation images, they are the last ones of `x`, after all others. Build a set with `load`, or with `Images.of`
    from valid tensors.
    """

    name: str
    x: Pixels  # (N, C, H, W) uint8
    y: Tensor  # (N,) int64
    x_test: Pixels | None
    y_test: Tensor | None
    classes: tuple[str, ...]
    mirror: bool  # whether a mirrored image keeps its class
    mean: tuple[float, ...]
    std: tuple[float, ...]  # at least one grey level
    fingerprint: str  # 16 hex digits
    validation: int = 0  # how many of the last images of x the source gives for validation
    levels: Levels | None = None  # None: the source has 8-bit values
    notes: tuple[str, ...] = ()  # what was converted or left out in reading, a phrase each
    left_out: tuple[str, ...] = ()  # files and folders that were not read, and why
    broken: int = 0  # how many of them are broken
    first_label: int = 0  # that of the first class in a source that names its classes

    @classmethod
    def of(
        cls,
        name: str,
        train: Labelled,
        classes: tuple[str, ...],
        test: Labelled | None = None,
        mirror: bool = True,
        *,
        validation: Labelled | None = None,
        levels: Levels | None = None,
        notes: tuple[str, ...] = (),
        left_out: tuple[str, ...] = (),
        broken: int = 0,
        first_label: int = 0,
    ) -> Images:
        """Build the set from (x, y) pairs, x (N, C, H, W) uint8 and y (N,) int64."""
        if validation is not None:
            train = _joined(train[0], validation[0]), torch.cat([train[1], validation[1]])
        given = 0 if validation is None else len(validation[1])
        x, y = _channels_last(train[0]), train[1]
        x_test, y_test = (None, None) if test is None else (_channels_last(test[0]), test[1])
        mean, std = _moments(x)
        tested = [] if x_test is None or y_test is None else [x_test, y_test]
        mark = _fingerprint([x, y, *tested], classes, given)
        found = (mean, std, mark, given, levels, notes, left_out, broken, first_label)
        return cls(name, x, y, x_test, y_test, classes, mirror, *found)

    @property
    def streamed(self) -> bool:
        """Whether the pixels stay on the disk."""
        return isinstance(self.x, Streamed)

    @property
    def given_parts(self) -> tuple[Tensor, Tensor] | None:
        """The indices of training and of validation images as the source gives them; None if it does not."""
        every = torch.arange(len(self.y))
        cut = len(every) - self.validation
        return (every[:cut], every[cut:]) if self.validation else None

    @property
    def label_mark(self) -> str:
        """A hash of labels and class names, the same whether the images are streamed or not: 16 hex digits."""
        labels = [self.y] if self.y_test is None else [self.y, self.y_test]
        return _fingerprint(labels, self.classes, self.validation)

    def described(self, held_out: int | None = None) -> str:
        """Return one line on the images, of which `held_out` are for validation; None is those that were given."""
        _, channels, height, width = self.x.shape
        colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        parts = [f"{len(self.x)} images of {len(self.classes)} classes ({_listed(self.classes)}), {height}x{width}"]
        parts[0] += f" {colours}"
        if held_out := self.validation if held_out is None else held_out:
            parts.append(f"{held_out} of them {'given' if self.validation else 'held out'} for validation")
        parts.append("no test images" if self.x_test is None else f"{len(self.x_test)} test images")
        return "; ".join([*parts, *self.notes])

    def to(self, device: torch.device | str) -> Images:
        """Return the same set on `device`; tensors that are there already are shared."""
        x_test = None if self.x_test is None else self.x_test.to(device)
        y_test = None if self.y_test is None else self.y_test.to(device)
        return replace(self, x=self.x.to(device), y=self.y.to(device), x_test=x_test, y_test=y_test)


def take(images: Images, n: int | None) -> Images:
    """Return the set with only its first `n` training images (None: all), and with all classes and test images.

    Validation images that the source gives keep their share. Mean, std and fingerprint are those of the smaller set.
    Raises UserError if there are fewer than `n` images, or if a class has no image among them.
    """
    if n is None or n == len(images.x):
        return images
    if not 1 <= n < len(images.x):
        raise UserError(f"cannot take {n} training images of '{images.name}': it has {len(images.x)}")
    given = round(n * images.validation / len(images.x))
    if images.validation:
        given = min(max(given, 1), n - 1)
    n, cut = n - given, len(images.x) - images.validation
    validation = (images.x[cut : cut + given], images.y[cut : cut + given]) if given else None
    present, classes = len(torch.unique(images.y[:n])), len(images.classes)
    if present < classes:
        few = f"the first {n} training images of '{images.name}' hold only {present} of {classes} classes"
        raise UserError(f"{few}: take more, or shuffle them")
    test = None if images.x_test is None or images.y_test is None else (images.x_test, images.y_test)
    return Images.of(
        *(images.name, (images.x[:n], images.y[:n]), images.classes, test, images.mirror),
        validation=validation,
        levels=images.levels,
        notes=images.notes,
        left_out=images.left_out,
        broken=images.broken,
        first_label=images.first_label,
    )


def _listed(names: tuple[str, ...]) -> str:
    """Return the names in one line, some of them if they are many or long."""
    short = [name if len(name) <= _LONG else f"{name[: _LONG - 3]}..." for name in names]
    return ", ".join(short if len(short) <= _SHOWN + 1 else [*short[:_SHOWN], f"and {len(short) - _SHOWN} more"])


def _joined(x: Pixels, more: Pixels) -> Pixels:
    if isinstance(x, Streamed) or isinstance(more, Streamed):
        assert isinstance(x, Streamed)  # a source streams all of its images, or none
        assert isinstance(more, Streamed)
        return x.joined(more)
    return torch.cat([x, more])


def _channels_last(x: Pixels) -> Pixels:
    return x if isinstance(x, Streamed) else x.contiguous(memory_format=torch.channels_last)


def _moments(x: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of x/255 per channel, from exact integer sums."""
    x = x.sample() if isinstance(x, Streamed) else x
    count = x.shape[0] * x.shape[2] * x.shape[3]
    totals = torch.zeros(2, x.shape[1], dtype=torch.int64, device=x.device)
    chunk = max(1, min(_CHUNK, _CHUNK_VALUES // math.prod(x.shape[1:])))
    for part in _parts(x, chunk):
        values = part.flatten(1).int()  # summed over images first: that sum is along memory for any number of channels
        for total, v in zip(totals, (values, values.square()), strict=True):
            total += v.sum(dim=0, dtype=torch.int32).view(-1, x.shape[1]).sum(dim=0)
    mean = tuple(s / count / 255 for s in totals[0].tolist())
    deviations = ((count * q - s * s) ** 0.5 / count / 255 for s, q in totals.T.tolist())
    return mean, tuple(max(d, _STD_FLOOR) for d in deviations)


def _parts(x: Pixels, count: int) -> Iterator[Tensor]:
    """Yield images as (n, H, W, C), at most `count` at a time."""
    if isinstance(x, Streamed):
        return x.batches(torch.arange(len(x)), count)
    return iter(torch.split(x.permute(0, 2, 3, 1), count))


def _fingerprint(tensors: Sequence[Pixels], classes: tuple[str, ...], given: int) -> str:
    about = [classes, *(tuple(t.shape) for t in tensors), *([given] if given else [])]
    digest = hashlib.sha256(repr(about).encode())
    for t in tensors:
        if isinstance(t, Streamed):
            for mark in t.marks():
                digest.update(mark)
        else:
            digest.update((t.permute(0, 2, 3, 1) if t.ndim == 4 else t).contiguous().cpu().numpy().data)
    return digest.hexdigest()[:16]
