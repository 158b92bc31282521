"""Loading images from a folder of class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from supernet.data.images import Images, Labelled
from supernet.data.layouts import find_layout
from supernet.data.levels import Levels, levels_note
from supernet.data.limits import check_size, is_for_streaming
from supernet.data.pictures import Head, head, range_of, read
from supernet.data.reading import broken_error, levels_in, read_all
from supernet.data.resize import default_size, drop_grey
from supernet.data.stores import Files
from supernet.data.streaming import Listing, check_present, streamed_set
from supernet.errors import UserError


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
    stream: bool | None = None,
) -> Images:
    """Read `root/<class>/**`, or `root/train/<class>/**` with optional validation and test folders: see `find_layout`.

    Classes are the sorted folder names, or `classes`, some of which may have no images. The first image of each class
    is followed by the second of each class, and so on, so that the first n images are balanced. Grey pictures of more
    than 8 bits are scaled from `levels`, by default from the range of the training images.

    With `stream` the pixels stay in the files: see `streamed_set`. None decides by memory, if `image_size` is given.

    Raises UserError that names the bad folder, or the files that cannot be read; `skip_broken` leaves those out.
    """
    layout = find_layout(root)
    names = tuple(layout.training) if classes is None else tuple(classes)
    if len(names) == 1 and classes is None:
        raise UserError(f"'{root}' has only one class folder, '{names[0]}': at least 2 are needed")
    by_class = {"training": layout.training, "validation": layout.validation, "test": layout.test}
    parts = {part: _interleave(files, names, part) for part, files in by_class.items()}
    if stream is None:
        stream = image_size is not None and is_for_streaming(_needed(sum(map(len, parts.values())), image_size))
    if stream:
        return _streamed(
            root, parts, names, layout.left_out, image_size, levels, skip_broken, known=classes is not None
        )
    broken: dict[Path, str] = {}
    heads = read_all((entry.path for part in parts.values() for entry in part), head, broken)
    training = [path for _, path in parts["training"] if path in heads]
    if levels is None:
        levels = levels_in([path for path in training if heads[path].deep], range_of, broken)
    size = image_size or default_size((heads[path].side for path in training), len(heads)) if training else 1
    check_size(_needed(len(heads), size), f"'{root}' at {size} pixels a side")
    pixels = read_all(heads, lambda path: read(path, size, size, levels), broken)
    if broken and not skip_broken:
        raise broken_error({str(path): why for path, why in broken.items()})
    read_parts = {part: [entry for entry in entries if entry.path in pixels] for part, entries in parts.items()}
    if classes is None:
        check_present(torch.tensor([label for label, _ in read_parts["training"]]), names)
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


def _needed(count: int, size: int) -> int:
    return 2 * count * 3 * size**2  # bytes: twice while they are put together


def _streamed(
    root: Path,
    parts: Mapping[str, Sequence[_Entry]],
    names: tuple[str, ...],
    left_out: Mapping[Path, str],
    size: int | None,
    levels: Levels | None,
    skip_broken: bool,
    *,
    known: bool,
) -> Images:
    store = Files(root, [path for entries in parts.values() for _, path in entries])
    labels = {part: torch.tensor([label for label, _ in entries], dtype=torch.int64) for part, entries in parts.items()}
    reasons = tuple(f"{path}: {reason}" for path, reason in left_out.items())
    listing = Listing(root.resolve().name, store, labels, names, tuple(_kinds(left_out)), reasons)
    return streamed_set(listing, size, levels=levels, skip_broken=skip_broken, known=known)


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


def _unless_empty(part: Labelled) -> Labelled | None:
    return part if len(part[1]) else None


def _notes(
    heads: Mapping[Path, Head], levels: Levels | None, left_out: Mapping[Path, str], broken: Mapping[Path, str]
) -> Iterable[str]:
    if levels is not None:
        yield levels_note(levels)
    if cut := sum(found.cut for found in heads.values()):
        yield f"{cut} with 16 bits a colour, of which the upper 8 are read"
    yield from _kinds(left_out)
    if broken:
        yield f"{len(broken)} broken, left out"


def _kinds(left_out: Mapping[Path, str]) -> Iterable[str]:
    if left_out:
        kinds = Counter(path.suffix.lower() or path.name for path in left_out)
        yield f"{len(left_out)} left out ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common(3))})"
