"""Loading images from shards: large files that hold many pictures with their labels."""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supernet.data.arrays import Array
from supernet.data.images import Images
from supernet.data.labels import rule_of
from supernet.data.layouts import folders_in, role_of, visible
from supernet.data.levels import Levels
from supernet.data.listings import Listing, interleaved, read_listing
from supernet.data.pictures import EXTENSIONS
from supernet.data.resize import Size
from supernet.data.rows import Rows
from supernet.data.tars import Tars
from supernet.errors import UserError

SUFFIXES = (".tar", ".parquet", ".arrow")
_UNKNOWN = -1  # as Hugging Face labels test images whose classes are secret
_CACHE = "cache-"  # begins the names of what Hugging Face computes from shards, and leaves beside them
_PARTS = {"train": "training", "val": "validation", "test": "test"}
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_NUMBERED = re.compile(r"(.*?)(\d+)(?:-of-(\d+)(?:-[0-9a-f]+)?)?")


def expanded(text: str) -> Iterator[str]:
    """Yield the texts that one with braces stands for: {000..009} is numbers of three digits, {a,b} either word."""
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    first, last, words = found.groups()
    inner = words.split(",") if words else (f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1))
    for word in inner:
        yield from expanded(text[: found.start()] + word + text[found.end() :])


def find_shards(path: Path) -> tuple[list[Path], str]:
    """Return the shards that a path means, and a name for them; none if it means anything else.

    It is a folder of shards, one shard, or has braces. Raises UserError for shards that are missing.
    """
    if path.is_dir():
        return _shards_in(path), path.resolve().name
    if path.suffix.lower() not in SUFFIXES:
        return [], ""
    if path.is_file():
        return [path], path.stem
    if not _BRACES.search(str(path)):
        return [], ""
    return _named(str(path)), path.resolve().parent.name


def _named(text: str) -> list[Path]:
    shards = []
    for path in map(Path, expanded(text)):
        if not path.is_file():
            raise UserError(f"shard '{path}' is missing, of '{text}'")
        shards.append(path)
    if not shards:
        raise UserError(f"'{text}' names no shard: write the smaller number first")
    return shards


def _shards_in(root: Path) -> list[Path]:
    """Return the shards of a folder: those in it if it holds no folder, or those in all of its folders.

    There are none if one of these holds no shards, or pictures as well.
    """
    shards = []
    for folder in folders_in(root) or [root]:
        files = sorted((path for path in folder.iterdir() if visible(path.name) and path.is_file()), key=_natural)
        suffixes = {path.suffix.lower() for path in files}
        if not suffixes & {*SUFFIXES} or suffixes & EXTENSIONS:
            return []
        shards += [path for path in files if path.suffix.lower() in SUFFIXES and not path.name.startswith(_CACHE)]
    for (folder, prefix, total), sequence in _sequences(shards).items():
        _check_complete(folder, prefix, total, sequence)
    return shards


def _natural(path: Path) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.name)]  # 2 before 10


Sequences = dict[tuple[Path, str, str | None], list[Path]]


def _sequences(shards: Iterable[Path]) -> Sequences:
    """Return the shards whose names differ only in their number, by folder, what is before it, and their total."""
    found: Sequences = defaultdict(list)
    for path in shards:
        numbered = _NUMBERED.fullmatch(path.stem)
        prefix, total = (numbered[1], numbered[3]) if numbered else (path.stem, None)
        found[path.parent, prefix, total].append(path)
    return found


def _check_complete(folder: Path, prefix: str, total: str | None, shards: Sequence[Path]) -> None:
    numbers = {int(found[2]): found[2] for path in shards if (found := _NUMBERED.fullmatch(path.stem))}
    present = sorted(numbers)
    ends = [-1, *present, int(total)] if total else present
    for before, after in pairwise(ends):
        if after > before + 1:
            name = f"{before + 1:0{len(numbers[present[0]])}}{f'-of-{total}' if total else ''}"
            suffix, last = shards[0].suffix, shards[-1].name
            raise UserError(f"shard '{folder / (prefix + name)}{suffix}' is missing: '{last}' is there")


def _role(folder: Path, prefix: str) -> str | None:
    """Return the role that a sequence of shards says by a word of its name, or by that of its folder."""
    words = re.sub(r"[\W_\d]+", " ", prefix).split()
    return next((role for word in reversed(words) if (role := role_of(word))), role_of(folder.name))


def _parts(shards: Sequence[Path], source: str) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """Return the shards of training, validation and test, and those that are left out."""
    by_role: dict[str | None, list[list[Path]]] = defaultdict(list)
    for (folder, prefix, _), sequence in _sequences(shards).items():
        by_role[_role(folder, prefix)].append(sequence)
    if len(by_role) == 1:
        return {"training": [*shards], "validation": [], "test": []}, {}
    others = [path for sequence in by_role.pop(None, []) for path in sequence]
    if "train" not in by_role:
        if not others:
            raise UserError(f"'{source}' has {' and '.join(map(str, by_role))} shards, but none for training")
        by_role["train"], others = [others], []
    for role, (first, *more) in by_role.items():
        if more:
            raise UserError(f"'{source}' has both '{first[0]}' and '{more[0][0]}': which holds the {role} images?")
    parts = {name: by_role[role][0] if role in by_role else [] for role, name in _PARTS.items()}
    return parts, dict.fromkeys(others, "a shard of no known part")


def read_shards(
    shards: Sequence[Path],
    name: str,
    source: str,
    image_size: Size | None,
    *,
    classes: Sequence[str] | None,
    levels: Levels | None,
    channels: int | None,
    first_label: int,
    skip_broken: bool,
    stream: bool | None,
) -> Images:
    """Read shards, which messages call `source`: .tar as WebDataset has them, .parquet and .arrow as Hugging Face has.

    Names of training, validation and test shards are known as those of folders are; without any, all are for training.
    Pictures are ordered, sized and scaled like those of class folders, and left on the disk in the same cases: see
    `read_folder`. Labels are understood by `rule_of`. Raises UserError that names the shard, or the picture in it.
    """
    parts, left_out = _parts(shards, source)
    if len(kinds := {path.suffix.lower() == ".tar" for path in shards}) > 1:
        raise UserError(f"'{source}' has .tar shards and others: give one kind, with braces: 'train-{{000..009}}.tar'")
    store: Tars | Rows = Tars() if kinds == {True} else Rows()
    known: dict[int | str, int] = {}  # a number for each label, in the order in which they come
    coded = {part: array("i") for part in parts}
    for part, paths in parts.items():
        for path in paths:
            coded[part].extend(known.setdefault(label, len(known)) for label in store.add(path))
    if not coded["training"]:
        raise UserError(f"'{source}' holds no training images")
    every = _plain([*known])
    values = {part: every[np.array(numbers, np.int64)] for part, numbers in coded.items()}
    ends = np.cumsum([0, *map(len, values.values())])
    if len(values["test"]) and (values["test"] == _UNKNOWN).all():
        values["test"] = values["test"][:0]
        left_out |= dict.fromkeys(parts["test"], "all of its labels are -1")
    rule = rule_of(values["training"], f"labels of '{source}'", store.names, classes, first_label)
    labels = {part: rule(found, f"{part} labels of '{source}'").numpy() for part, found in values.items()}
    orders = {part: interleaved(y) for part, y in labels.items()}
    listing = Listing(
        *(name, f"'{source}'", store),
        numbers={part: torch.from_numpy(first + orders[part]) for first, part in zip(ends, labels, strict=False)},
        labels={part: torch.from_numpy(y[orders[part]]) for part, y in labels.items()},
        classes=rule.classes,
        notes=rule.notes,
        left_out=left_out,
        unfit=store.unfit,
        first_label=rule.first,
    )
    how: dict[str, Any] = {"levels": levels, "channels": channels, "skip_broken": skip_broken, "stream": stream}
    return read_listing(listing, image_size, **how, known=classes is not None)


def _plain(labels: list[int | str]) -> Array:
    """Return labels as numbers if all of them are, without leading zeros, otherwise as texts."""
    if all(isinstance(label, str) and _NUMBER.fullmatch(label) for label in labels):
        labels = [int(label) for label in labels]
    return np.array(labels)
