"""Shards as WebDataset has them: tar files, in which the files of a sample share a name up to its first dot."""

from __future__ import annotations

import json
import tarfile
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from supernet.data.layouts import visible
from supernet.data.pictures import EXTENSIONS, Packed
from supernet.data.stores import Names
from supernet.errors import UserError, reason_of

_LABEL = ("label", "cls")  # keys of a .json
_END = bytes(tarfile.BLOCKSIZE)  # the block after the last file


class Tars:
    """The store of the pictures in uncompressed tar files, by the places where they lie: each is read by itself."""

    names: list[str] | None = None  # of classes 0, 1, ...: a tar file has none
    unfit: str | None = None  # why single pictures cannot be read

    def __init__(self) -> None:
        self._shards: list[Path] = []
        self._files = Names()
        self._shard, self._start, self._size = array("i"), array("q"), array("q")

    def add(self, shard: Path) -> list[str]:
        """List the pictures of a shard; return their labels, numbers too as text.

        Raises UserError for a shard that is damaged, and for a sample without a label or not with one picture.
        """
        self._shards.append(shard)
        labels = []
        with shard.open("rb") as file:
            for key, members in groupby(_members(shard, file), key=lambda member: _split(member.name)[0]):
                sample = [(_split(member.name)[1], member) for member in members]
                name = f"sample '{key}' of '{shard}'"
                picture = _picture(sample, name)
                self._files.add([picture.name])
                self._shard.append(len(self._shards) - 1)
                self._start.append(picture.offset_data)
                self._size.append(picture.size)
                labels.append(_label(file, dict(sample), name))
        return labels

    def picture(self, number: int) -> Packed:
        """Return a picture; raises UserError for a shard that is gone."""
        shard = self._shards[self._shard[number]]
        try:
            with shard.open("rb") as file:
                file.seek(self._start[number])
                return Packed(self.name(number), file.read(self._size[number]))
        except OSError as error:
            raise UserError(f"cannot read shard '{shard}': {reason_of(error)}") from None

    def name(self, number: int) -> str:
        """Return the path of a picture, in which its shard is a folder."""
        return str(self._shards[self._shard[number]] / self._files[number])

    def marks(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the name of each shard, of the file in it, and the size of that."""
        for number in numbers.tolist():
            shard = self._shards[self._shard[number]].name.encode("utf-8", "surrogateescape")
            size = self._size[number].to_bytes(8, "little")
            yield b"\0".join((shard, self._files.bytes_of(number), size))


def _members(shard: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the visible files of a tar file; raises UserError for one that is damaged or not complete."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined] # otherwise all of them would stay in memory
                if member.isfile() and visible(_base(member.name)):
                    yield member
            file.seek(tar.offset)
    except tarfile.TarError as error:
        reason = "no tar file, or compressed" if file.tell() <= tarfile.BLOCKSIZE else "truncated"
        raise UserError(f"shard '{shard}' is {reason} ({error}): give whole .tar files, unpacked") from None
    if file.read(tarfile.BLOCKSIZE) != _END:  # tarfile ends without a word at a header it cannot read
        raise UserError(f"shard '{shard}' is truncated or damaged at byte {tar.offset:,}: fetch it again")


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _split(name: str) -> tuple[str, str]:
    """Return the name of a sample, and the suffixes of one of its files."""
    stem, _, suffixes = _base(name).partition(".")
    return name.removesuffix(_base(name)) + stem, suffixes.lower()


def _picture(sample: list[tuple[str, tarfile.TarInfo]], name: str) -> tarfile.TarInfo:
    found = [(suffixes, member) for suffixes, member in sample if f".{suffixes.rpartition('.')[2]}" in EXTENSIONS]
    if len(found) != 1:
        held = ", ".join(f".{suffixes}" for suffixes, _ in (found or sample))
        raise UserError(f"{name} has {len(found) or 'no'} pictures ({held}): expected one")
    return found[0][1]


def _label(file: BinaryIO, sample: dict[str, tarfile.TarInfo], name: str) -> str:
    def content(kind: str) -> str:
        file.seek(sample[kind].offset_data)
        return file.read(sample[kind].size).decode("utf-8", "surrogateescape").strip()

    found: object = content("cls") if "cls" in sample else None
    if found is None and "json" in sample:
        with suppress(ValueError):
            about = json.loads(content("json"))
            found = next((about[key] for key in _LABEL if key in about), None) if isinstance(about, dict) else None
    if isinstance(found, str | int) and str(found):
        return str(found)
    raise UserError(f"{name} has no label: expected a .cls, or a .json with {' or '.join(_LABEL)}, beside the picture")
