"""Loading images from a folder of class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from supernet.data.images import Images, Labelled, Levels
from supernet.data.layouts import find_layout
from supernet.data.levels import FULL, levels_note, levels_of
from supernet.data.limits import check_size
from supernet.data.pictures import Head, head, range_of, read
from supernet.data.resize import default_size, drop_grey
from supernet.errors import UserError

T = TypeVar("T")
_NAMED = 10  # broken files that a message names


class _Entry(NamedTuple):
    label: int
    path: Path


def read_folder(
    root: Path,
    image_size: int | None,
    *,
    classes: Sequence[str] | None = None,
    levels: Levels | None = None,
    skip_broken: bool = False,
) -> Images:
    """Read `root/<class>/**`, or `root/train/<class>/**` with optional validation and test folders: see `find_layout`.

    Classes are the sorted folder names, or `classes`, some of which may have no images. The first image of each class
    is followed by the second of each class, and so on, so that the first n images are balanced. Grey pictures of more
    than 8 bits are scaled from `levels`, by default from the range of the training images.

    Raises UserError that names the bad folder, or the files that cannot be read; `skip_broken` leaves those out.
    """
    layout = find_layout(root)
    names = tuple(layout.training) if classes is None else tuple(classes)
    if len(names) == 1 and classes is None:
        raise UserError(f"'{root}' has only one class folder, '{names[0]}': at least 2 are needed")
    by_class = {"training": layout.training, "validation": layout.validation, "test": layout.test}
    parts = {part: _interleave(files, names, part) for part, files in by_class.items()}
    broken: dict[Path, str] = {}
    heads = _read_all((entry.path for part in parts.values() for entry in part), head, broken)
    training = [path for _, path in parts["training"] if path in heads]
    if levels is None:
        levels = _levels([path for path in training if heads[path].deep], broken)
    size = image_size or default_size((heads[path].side for path in training), len(heads)) if training else 1
    check_size(2 * len(heads) * 3 * size**2, f"'{root}' at {size} pixels a side")  # twice while they are put together
    pixels = _read_all(heads, lambda path: read(path, size, size, levels), broken)
    if broken and not skip_broken:
        raise _broken(broken)
    read_parts = {part: [entry for entry in entries if entry.path in pixels] for part, entries in parts.items()}
    _check_left(read_parts["training"], names if classes is None else ())
    order = [entry for entries in read_parts.values() for entry in entries]
    x, y = drop_grey(torch.cat([pixels.pop(path) for _, path in order])), torch.tensor([label for label, _ in order])
    ends = [len(entries) for entries in read_parts.values()]
    train, validation, test = zip(torch.split(x, ends), torch.split(y, ends), strict=True)
    left_out = [f"{path}: {reason}" for path, reason in layout.left_out.items()]
    return Images.of(
        *(root.resolve().name, train, names, _unless_empty(test)),
        validation=_unless_empty(validation),
        levels=levels,
        notes=tuple(_notes(heads, levels, layout.left_out, broken)),
        left_out=(*left_out, *broken.values()),
        broken=len(broken),
    )


def _interleave(files: Mapping[str, Sequence[Path]], names: Sequence[str], part: str) -> list[_Entry]:
    """Return the label and file of the first image of each class, the second of each class, and so on."""
    for name, paths in files.items():
        if name not in names:
            raise UserError(f"{part} folder '{_of_class(name, paths)}' is of no training class: {', '.join(names)}")
    labels = {name: label for label, name in enumerate(names)}
    ranked = [(rank, labels[name], path) for name, paths in files.items() for rank, path in enumerate(paths)]
    return [_Entry(label, path) for _, label, path in sorted(ranked)]


def _of_class(name: str, paths: Sequence[Path]) -> Path:
    return next((folder for folder in paths[0].parents if folder.name == name), Path(name))


def _read_all(paths: Iterable[Path], reads: Callable[[Path], T], broken: dict[Path, str]) -> dict[Path, T]:
    """Return what `reads` makes of each file; files that it cannot read are added to `broken`."""
    found: dict[Path, T] = {}
    for path in paths:
        try:
            found[path] = reads(path)
        except UserError as error:
            broken[path] = str(error)
    return found


def _levels(deep: Sequence[Path], broken: dict[Path, str]) -> Levels | None:
    """Return the levels of pictures of more than 8 bits; None if there are no such pictures."""
    ranges = [
        found for found in _read_all(deep, range_of, broken).values() if FULL[0] <= found[0] and found[1] <= FULL[1]
    ]
    return levels_of(min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None


def _broken(broken: Mapping[Path, str]) -> UserError:
    """Return the error that names the broken files."""
    if len(broken) == 1:
        return UserError(next(iter(broken.values())))
    named = [str(path) for path in broken][:_NAMED]
    more = f" and {len(broken) - len(named)} more" if len(broken) > len(named) else ""
    advice = "supernet data tells why, --skip-broken goes on without them"
    return UserError(f"cannot read {len(broken)} images: {', '.join(named)}{more}; {advice}")


def _check_left(training: Sequence[_Entry], names: Sequence[str]) -> None:
    empty = set(range(len(names))) - {label for label, _ in training}
    if empty:
        raise UserError(f"class '{names[min(empty)]}' has no image that can be read")


def _unless_empty(part: Labelled) -> Labelled | None:
    return part if len(part[1]) else None


def _notes(
    heads: Mapping[Path, Head], levels: Levels | None, left_out: Mapping[Path, str], broken: Mapping[Path, str]
) -> Iterable[str]:
    if levels is not None:
        yield levels_note(levels)
    if cut := sum(found.cut for found in heads.values()):
        yield f"{cut} with 16 bits a colour, of which the upper 8 are read"
    if left_out:
        kinds = Counter(path.suffix.lower() or path.name for path in left_out)
        yield f"{len(left_out)} left out ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common(3))})"
    if broken:
        yield f"{len(broken)} broken, left out"
