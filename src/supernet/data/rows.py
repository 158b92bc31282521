"""Shards as Hugging Face has them: parquet and arrow files with a column of encoded pictures and one of labels."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.data.items import IMAGE_KEYS, LABEL_KEYS
from supernet.data.pictures import Packed
from supernet.errors import UserError, reason_of

_LARGEST = 256 * 2**20  # bytes of a row group: every process that decodes holds one
_FILE = b"ARROW1"  # how an arrow file begins that is not a stream


class Rows:
    """The store of the pictures in the rows of parquet and arrow files.

    Of arrow a row is read by itself, of parquet the row group that holds it, and the last group is kept.
    """

    def __init__(self) -> None:
        self.names: list[str] | None = None  # of classes 0, 1, ...
        self.unfit: str | None = None  # why single pictures cannot be read
        self._groups: list[tuple[Path, int, str]] = []  # shard, its row group, and the column of pictures
        self._starts = array("q", [0])  # of the groups, in rows of all shards
        self._firsts: dict[Path, int] = {}  # row of each shard
        self._last: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}  # another process reads its own

    def add(self, shard: Path) -> list[int | str]:
        """List the rows of a shard; return their labels.

        Raises UserError for a shard that is damaged or lacks a column, and for a row without a label.
        """
        with _readable(shard):
            opened = _opened(shard)
            features = _features(opened.schema)
            images = _column(shard, opened.schema, features, IMAGE_KEYS, "Image")
            label = _column(shard, opened.schema, features, LABEL_KEYS, "ClassLabel")
            labels: list[Any] = opened.read(label).to_pylist()
        self._note_names(shard, features.get(label))
        self._firsts[shard] = self._starts[-1]
        for group, (rows, size) in enumerate(opened.groups):
            self._groups.append((shard, group, images))
            self._starts.append(self._starts[-1] + rows)
            if size > _LARGEST:
                advice = "write it with a row_group_size of 100, or as .arrow"
                self.unfit = f"shard '{shard}' has row groups of {size / 1e6:,.0f} MB, too large to stream: {advice}"
        for row, value in enumerate(labels):
            if not isinstance(value, int | str):
                raise UserError(f"row {row} of '{shard}' has label {value!r}: expected a class number or name")
        return labels

    def _note_names(self, shard: Path, feature: Any) -> None:
        names = feature.get("names") if isinstance(feature, Mapping) else None
        if self._groups and names != self.names:
            raise UserError(f"shards '{self._groups[0][0]}' and '{shard}' have different names of classes")
        self.names = names

    def picture(self, number: int) -> Packed:
        """Return a picture; raises UserError for a shard that is damaged or gone, and for a row without one."""
        index = bisect_right(self._starts, number) - 1
        shard, group, column = self._groups[index]
        with _readable(shard):
            if self._last is None or self._last[0] != index:
                self._last = index, _opened(shard).read(column, group)
            value = self._last[1][number - self._starts[index]].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise UserError(f"{self.name(number)} has no encoded picture in column '{column}'")
        return Packed(self.name(number), content)

    def name(self, number: int) -> str:
        """Return the row and the shard of a picture."""
        shard = self._groups[bisect_right(self._starts, number) - 1][0]
        return f"{shard}, row {number - self._firsts[shard]}"

    def marks(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the name and size of each shard, and the row."""
        sizes = {shard: shard.stat().st_size for shard in self._firsts}
        for number in numbers.tolist():
            shard = self._groups[bisect_right(self._starts, number) - 1][0]
            yield f"{shard.name}\0{sizes[shard]}\0{number - self._firsts[shard]}".encode("utf-8", "surrogateescape")


class _Parquet:
    """An open parquet file."""

    def __init__(self, shard: Path) -> None:
        self._file = _library("pyarrow.parquet", shard).ParquetFile(shard, memory_map=True)
        self.schema = self._file.schema_arrow

    @property
    def groups(self) -> Iterator[tuple[int, int]]:
        """Yield the rows and bytes of each row group."""
        about = self._file.metadata
        every = (about.row_group(group) for group in range(about.num_row_groups))
        return ((group.num_rows, group.total_byte_size) for group in every)

    def read(self, column: str, group: int | None = None) -> Any:
        """Return a column of one row group, or of all."""
        # Threads would not live on in the processes that decode, which are forked
        how = {"columns": [column], "use_threads": False}
        return (self._file.read(**how) if group is None else self._file.read_row_group(group, **how))[column]


class _Arrow:
    """An open arrow file, in mapped memory: reading a row reads no other."""

    def __init__(self, shard: Path) -> None:
        arrow, ipc = _library("pyarrow", shard), _library("pyarrow.ipc", shard)
        with shard.open("rb") as file:
            opens = ipc.open_file if file.read(len(_FILE)) == _FILE else ipc.open_stream
        self._table = opens(arrow.memory_map(str(shard))).read_all()
        self.schema = self._table.schema

    @property
    def groups(self) -> Iterator[tuple[int, int]]:
        """Yield the rows of the file, as one group of no bytes."""
        yield len(self._table), 0

    def read(self, column: str, group: int | None = None) -> Any:
        """Return a column."""
        return self._table[column]


def _opened(shard: Path) -> _Parquet | _Arrow:
    return _Parquet(shard) if shard.suffix.lower() == ".parquet" else _Arrow(shard)


def _library(name: str, shard: Path) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"reading '{shard}' needs the extra: pip install 'supernet[hf]'") from None


@contextmanager
def _readable(shard: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pyarrow's errors are of many kinds
        raise UserError(f"cannot read shard '{shard}': {reason_of(error)}") from None


def _features(schema: Any) -> dict[str, Any]:
    """Return what Hugging Face says of the columns, if anything."""
    with suppress(KeyError, TypeError, ValueError):
        return dict(json.loads(schema.metadata[b"huggingface"])["info"]["features"])
    return {}


def _column(shard: Path, schema: Any, features: Mapping[str, Any], names: Sequence[str], kind: str) -> str:
    """Return the column with one of these names, or that is of this kind of feature."""
    typed = [name for name, found in features.items() if isinstance(found, Mapping) and found.get("_type") == kind]
    for name in (*names, *typed):
        if name in schema.names:
            return name
    raise UserError(f"shard '{shard}' has columns {', '.join(schema.names)}: none is called {' or '.join(names)}")
