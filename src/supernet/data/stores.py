"""Stores: pictures on a disk by number, in little memory, as files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supernet.data.pictures import Encoded


class Names:
    """Texts by number in one block of bytes: a list of a million would take ten times the memory, in every process."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [os.fsencode(text) for text in texts]
        self._block = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def bytes_of(self, number: int) -> bytes:
        """Return a text as bytes."""
        return self._block[self._ends[number] : self._ends[number + 1]].tobytes()

    def __getitem__(self, number: int) -> str:
        return os.fsdecode(self.bytes_of(number))


class Files:
    """The store of picture files below the folder `root`. Raises OSError for a file that is gone."""

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self._root = root
        self._names = Names([os.path.relpath(path, root) for path in paths])
        self._sizes = np.array([path.stat().st_size for path in paths], np.int64)

    def picture(self, number: int) -> Encoded:
        """Return the path of a picture."""
        return self._root / self._names[number]

    def marks(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the name of each file below the root, and its size."""
        for number in numbers.tolist():
            yield self._names.bytes_of(number) + b"\0" + self._sizes[number].tobytes()
