"""Pickles of plain data: mappings, lists, texts, numbers and arrays of bytes, and nothing that could run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError


class PlainArray:
    """Stands for a numpy array of bytes, which numpy would build from any state in the file; it is in `values`."""

    values: NDArray[np.uint8]

    def __init__(self, *blank: object) -> None:
        """Take the arguments of an array that is filled later."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the version, the shape, the type, whether columns come first, and the bytes."""
        _, shape, kind, by_column, values = state
        if kind.code not in ("u1", b"u1"):
            raise ValueError("not an array of bytes")
        self.values = np.frombuffer(values, np.uint8).reshape(shape, order="F" if by_column else "C")


class _Kind:
    """Stands for the type of an array."""

    def __init__(self, code: object, *flags: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Take the order of bytes, which a single byte does not have."""


class _Latin1(bytes):
    """Stands for `codecs.encode`: protocol 2 keeps bytes as text."""

    def __new__(cls, text: str, encoding: str) -> _Latin1:
        """Return the bytes of a text, whatever encoding is asked for."""
        return super().__new__(cls, text.encode("latin1"))


_STANDS_FOR: dict[tuple[str, str], type[Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): PlainArray,
    ("numpy._core.multiarray", "_reconstruct"): PlainArray,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _Latin1,
}


class _RefusedError(Exception):
    """A pickle asks for something that is no plain data."""


def _refuse_sets(unpickler: object) -> None:
    raise _RefusedError("a set")


def _with_plain_keys(code: bytes, keys: slice) -> Callable[..., None]:
    """Return what the opcode does, after a check of the keys on the stack: the hash of nested tuples takes forever."""
    load: Callable[..., None] = pickle._Unpickler.dispatch[code[0]]

    def checked(self: Any) -> None:
        for key in self.stack[keys]:
            if not isinstance(key, str | bytes | int | float | None):
                raise _RefusedError(f"a {type(key).__name__} as the key of a mapping")
        load(self)

    return checked


class _Plain(pickle._Unpickler):  # the one in Python: that in C allocates memory for any number that a file names
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys((pickle.EMPTY_SET[0], pickle.ADDITEMS[0], pickle.FROZENSET[0]), _refuse_sets),
        pickle.SETITEM[0]: _with_plain_keys(pickle.SETITEM, slice(-2, -1)),
        pickle.SETITEMS[0]: _with_plain_keys(pickle.SETITEMS, slice(0, None, 2)),
        pickle.DICT[0]: _with_plain_keys(pickle.DICT, slice(0, None, 2)),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a part of an array; nothing is ever imported."""
        if (module, name) not in _STANDS_FOR:
            raise _RefusedError(f"{module}.{name}")
        return _STANDS_FOR[module, name]


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle, with arrays as PlainArray and the texts of Python 2 as bytes.

    Raises UserError for a damaged file, and for one that names any class or function but those of arrays of bytes.
    """
    with path.open("rb") as file:
        try:
            return _Plain(file, encoding="bytes").load()
        except _RefusedError as error:
            raise UserError(f"'{path}' is not read: it asks for {error}, and plain data needs only arrays") from None
        except OSError:
            raise
        except Exception:  # a damaged file can raise anything
            raise UserError(f"cannot read '{path}': not a pickle of plain data, or damaged") from None
