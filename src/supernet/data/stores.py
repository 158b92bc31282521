"""Stores: pictures on a disk by number, in little memory, as files."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Names:
    """Texts by number in one block of bytes: a list of a million would take ten times the memory, in every process."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._block, self._ends = bytearray(), array("q", [0])
        self.add(texts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, texts: Iterable[str]) -> range:
        """Append texts; return their numbers."""
        first = len(self)
        for text in texts:
            self._block += os.fsencode(text)
            self._ends.append(len(self._block))
        return range(first, len(self))

    def bytes_of(self, number: int) -> bytes:
        """Return a text as bytes."""
        return bytes(self._block[self._ends[number] : self._ends[number + 1]])

    def __getitem__(self, number: int) -> str:
        return os.fsdecode(self.bytes_of(number))


class Files:
    """The store of picture files, by their names below the folder `root`. Raises OSError for a file that is gone."""

    def __init__(self, root: Path, names: Names) -> None:
        self._root, self._names = root, names
        self._sizes = np.fromiter((self.picture(i).stat().st_size for i in range(len(names))), np.int64, len(names))

    def picture(self, number: int) -> Path:
        """Return the path of a picture."""
        return self._root / self._names[number]

    def name(self, number: int) -> str:
        """Return the path of a picture as text."""
        return str(self.picture(number))

    def marks(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the name of each file below the root, and its size."""
        for number in numbers.tolist():
            yield self._names.bytes_of(number) + b"\0" + self._sizes[number].tobytes()
