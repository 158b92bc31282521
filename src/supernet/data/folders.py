"""Loading images from a folder of class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.data.images import Images
from supernet.data.layouts import find_layout, role_of
from supernet.data.levels import Levels
from supernet.data.listings import Listing, interleaved, read_listing
from supernet.data.resize import Size
from supernet.data.stores import Files
from supernet.errors import UserError


def read_folder(
    root: Path,
    image_size: Size | None,
    *,
    classes: Sequence[str] | None,
    levels: Levels | None,
    channels: int | None,
    skip_broken: bool,
    stream: bool | None,
) -> Images:
    """Read `root/<class>/**`, or `root/train/<class>/**` with optional validation and test folders: see `find_layout`.

    Classes are the sorted folder names, or `classes`, some of which may have no images. The first image of each class
    is followed by the second of each class, and so on, so that the first n images are balanced. Grey pictures of more
    than 8 bits are scaled from `levels`, by default from the range of the training images.

    With `stream` the pixels stay in the files: see `streamed_set`. None decides by memory, if `image_size` is given.

    Raises UserError that names the bad folder, or the files that cannot be read; `skip_broken` leaves those out.
    """
    layout = find_layout(root, classes or ())
    names = tuple(layout.training) if classes is None else tuple(classes)
    if len(names) == 1 and classes is None:
        raise UserError(f"'{root}' has only one class folder, '{names[0]}': at least 2 are needed")
    store = Files(root, layout.files)
    by_class = {"training": layout.training, "validation": layout.validation, "test": layout.test}
    parts = {part: _part(files, names, part, store) for part, files in by_class.items()}
    listing = Listing(
        *(root.resolve().name, f"'{root}'", store),
        numbers={part: numbers for part, (numbers, _) in parts.items()},
        labels={part: labels for part, (_, labels) in parts.items()},
        classes=names,
        notes=tuple(f"folder '{name}' taken as a class" for name in names if classes is None and role_of(name)),
        left_out=layout.left_out,
    )
    how: dict[str, Any] = {"levels": levels, "channels": channels, "skip_broken": skip_broken, "stream": stream}
    return read_listing(listing, image_size, **how, known=classes is not None)


def _part(files: Mapping[str, range], names: Sequence[str], part: str, store: Files) -> tuple[Tensor, Tensor]:
    """Return the numbers and labels of a part, the classes in turn; raises UserError for a class not in `names`."""
    for name, numbers in files.items():
        if name not in names:
            folder = next(path for path in store.picture(numbers[0]).parents if path.name == name)
            raise UserError(f"{part} folder '{folder}' is of no training class: {', '.join(names)}")
    labels = np.repeat([names.index(name) for name in files], [*map(len, files.values())]).astype(np.int64)
    first = next(iter(files.values()), range(0)).start  # the files of a part lie side by side
    order = interleaved(labels)
    return torch.from_numpy(first + order), torch.from_numpy(labels[order])
