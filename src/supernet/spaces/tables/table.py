"""Table: the measurements of every architecture of a space, one column per field, each read on first use.

The file is a zip with one `.npy` member per column and `fields.json`, which describes the columns. A column holds whole
numbers; the value `number * step / per` has exactly the printed digits, and -1 means "not measured".
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from types import MappingProxyType
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError, is_whole, shown, unknown
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables.entry import TableEntry

MISSING = -1


@dataclass(frozen=True)
class Field:
    """The storage and meaning of one column; `better` is +1 (higher is better), -1 (lower is better) or 0 (neither)."""

    about: str
    step: int
    per: int
    better: int
    hardware: bool

    def decode(self, numbers: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the values of the stored `numbers`, NaN where nothing was measured."""
        values = numbers.astype(np.int64) * self.step / self.per
        return np.where(numbers == MISSING, np.nan, values)


class Table(ABC):
    """The measurements of a whole space: every architecture has an index and a value in each field."""

    def __init__(self, name: str, file: Traversable):
        self.name = name
        self._file = file
        self._columns: dict[str, NDArray[np.float64]] = {}
        with file.open("rb") as stream, ZipFile(stream) as archive:
            header = json.loads(archive.read("fields.json"))
        self._length: int = header["rows"]
        self._fields = {field: Field(**how) for field, how in header["fields"].items()}
        self.fields: Mapping[str, str] = MappingProxyType({field: how.about for field, how in self._fields.items()})

    def title(self, field: str) -> str:
        """Return what a column holds in a few words, such as "latency on Raspberry Pi 4, ms"; raises UserError."""
        if field not in self.fields:
            raise unknown(f"{self.name} field", field, self.fields, "supernet query --fields")
        about = self.fields[field]
        kind, _, images = about.partition("; ")
        if not images:
            return about.partition(" (")[0]
        epochs = " after 12 epochs" if "12 epochs" in kind else ""
        return f"{images.partition(':')[0]} accuracy{epochs}"

    def __len__(self) -> int:
        return self._length

    @abstractmethod
    def index(self, genotype: Genotype) -> int:
        """Return the index of `genotype`, ignoring its space's name; raises UserError if it is not in this table."""

    @abstractmethod
    def genotype(self, index: int) -> Genotype:
        """Return the architecture with this index; raises UserError if there is none."""

    @abstractmethod
    def summary(self, index: int) -> TableEntry:
        """Return the main results of the architecture with this index; raises UserError if there is none."""

    def column(self, field: str) -> NDArray[np.float64]:
        """Return the values of `field`, read-only, shape (len(self),); raises UserError for an unknown field."""
        self._read([field])
        return self._columns[field]

    def row(self, index: int, *, hardware: bool = False) -> dict[str, float]:
        """Return every field of one architecture; fields measured on devices only with `hardware`.

        Raises UserError if there is no such architecture.
        """
        number = self.check(index)
        names = [field for field, how in self._fields.items() if hardware or not how.hardware]
        self._read(names)
        return {field: float(self._columns[field][number]) for field in names}

    def best(self, field: str) -> int:
        """Return the index with the best value of `field` (highest accuracy, lowest cost), the first of equals.

        Raises UserError if the field is unknown or has no better and worse.
        """
        return int(np.nanargmax(self._goodness(field)))

    def rank(self, field: str, index: int) -> int:
        """Return 1 + the number of architectures strictly better than `index` in `field`: 1 is best, ties share a rank.

        Raises UserError if the field is unknown, has no better and worse, or was not measured for `index`.
        """
        goodness = self._goodness(field)
        value = goodness[self.check(index)]
        if np.isnan(value):
            raise UserError(f"'{field}' was not measured for architecture {index} of {self.name}")
        return 1 + int(np.count_nonzero(goodness > value))

    def check(self, index: int) -> int:
        """Return `index` if an architecture has it; raises UserError otherwise."""
        if not (is_whole(index) and 0 <= index < len(self)):
            given = index if is_whole(index) else shown(repr(index))
            raise UserError(f"{self.name} has no architecture {given}: expected 0..{len(self) - 1}")
        return index

    def higher_is_better(self, field: str) -> bool:
        """Return whether higher values of `field` are better, as for accuracies; raises UserError as `best` does."""
        return self._better(field) > 0

    def _better(self, field: str) -> int:
        self._read([field])
        if not (better := self._fields[field].better):
            raise UserError(f"'{field}' has no better and worse: {self.fields[field]}")
        return better

    def _goodness(self, field: str) -> NDArray[np.float64]:
        return self._better(field) * self.column(field)

    def _read(self, fields: Iterable[str]) -> None:
        missing = [field for field in fields if not isinstance(field, str) or field not in self._columns]
        for field in missing:
            if not isinstance(field, str) or field not in self._fields:
                raise unknown(f"{self.name} field", field, self._fields, "supernet query --fields")
        for field, numbers in self._numbers(missing).items():
            self._columns[field] = self._fields[field].decode(numbers)
            self._columns[field].flags.writeable = False

    def _numbers(self, members: list[str]) -> dict[str, NDArray[np.integer]]:
        if not members:
            return {}
        with self._file.open("rb") as stream, ZipFile(stream) as archive:
            return {name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False) for name in members}
