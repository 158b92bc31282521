"""Files: written atomically and never through a link, and read within limits, as plain data."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

import yaml  # type: ignore[import-untyped]

from supernet.errors import UserError, reason_of, shown

_LARGEST = {".yaml": 4 * 2**20}  # bytes; PyYAML needs some hundred times as much memory
_LARGEST_OTHER = 64 * 2**20
_DEEPEST = 50  # levels of nested data
_ABANDONED = 24 * 3600  # seconds since the last change of a temporary file that nobody writes any more
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\.\w+)?")

# The C versions where PyYAML has them; none of them runs code from a file.
_LOADER, _DUMPER = (getattr(yaml, f"CSafe{kind}", getattr(yaml, f"Safe{kind}")) for kind in ("Loader", "Dumper"))


class _Dumper(_DUMPER):  # type: ignore[misc, valid-type]
    """Writes data again where it stands twice: the reader takes no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def folder_given(value: object) -> Path:
    """Return the path of a folder that an argument, `out`, is; raises UserError for what is none."""
    return path_given(value, "out takes the path of a folder")


def path_given(value: object, wanted: str) -> Path:
    """Return the path that an argument is; raises UserError, which says what is `wanted`, for what is none, as ""."""
    if not isinstance(value, str | os.PathLike) or not (text := str(os.fspath(value))) or "\0" in text:
        raise UserError(f"{wanted}, not {shown(repr(value))}")
    return Path(value)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what keeps the system from writing a file or a folder into one line, a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write '{path}': {reason_of(error)}; give another place with --out") from None


def temporary_name(path: Path) -> Path:
    """Return a new name beside `path`, with its suffix, that no one can guess and `remove_temporaries` knows."""
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")


def is_temporary(path: Path) -> bool:
    """Return whether the name of a file is one of `temporary_name`."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_temporaries(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder."""
    for file in folder.glob(".*.tmp*"):
        if is_temporary(file):
            file.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what writers of `path` that were killed have left, where no run starts that would clear the folder."""
    for file in path.parent.glob(f".{escape(path.stem)}.*.tmp{escape(path.suffix)}"):
        with suppress(OSError):  # it has just gone, or is somebody else's
            if is_temporary(file) and time.time() - file.lstat().st_mtime > _ABANDONED:
                file.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name for a file that takes the place of `path` at the end of the block, unless it fails."""
    _remove_abandoned(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Write a file so that readers, also after a crash, find either the old content or the new one.

    A link of that name is replaced, not followed. With `keep`, the old content is moved there first, so after a crash
    it may only be found there. Raises OSError with the file's name.
    """
    try:
        with replacing(path) as temporary:
            with temporary.open("xb") as file:  # a new file of its own, whatever lies there
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                path.replace(keep)
    except OSError as error:
        error.filename = str(path)  # none where the disk is full
        raise


def append(path: Path, text: str) -> None:
    """Append to a file, and wait until it is on the disk; raises OSError, also where a link lies in its place."""
    try:
        with open_no_link(path, "a") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def open_no_link(path: Path, mode: str) -> IO[str]:
    """Open a text file for writing; raises OSError where a link lies in its place."""
    no_link = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
    return open(path, mode, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | no_link, 0o666))


def plain_bytes(path: Path) -> bytes | None:
    """Return what a file holds; None for a link, what is no file, such as a pipe, and a file that is very large."""
    try:
        plain = path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST_OTHER
        return path.read_bytes() if plain else None
    except OSError:
        return None


def read_json(file: Path) -> Any:
    """Return the content of a JSON file; raises ValueError with a reason if it cannot be read."""
    return _plain(file, json.loads)


def read_json_lines(file: Path) -> list[Any]:
    """Return the content of every whole line; raises ValueError with a reason if one cannot be read."""
    lines: list[Any] = _plain(file, lambda text: [json.loads(line) for line in text.split("\n")[:-1]])
    return lines


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file; raises ValueError with a reason if it cannot be read, or has an alias."""
    return _plain(file, _from_yaml)


def to_yaml(data: object) -> str:
    """Return plain data as YAML, in its own order; raises UserError for a name of a file that is no text."""
    try:
        text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        text.encode()
    except UnicodeEncodeError as error:  # of bytes in a path that are not UTF-8
        raise UserError(f"'{shown(error.object)}' has letters that are not UTF-8: rename the file or folder") from None
    return text


def _from_yaml(text: str) -> Any:
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _LOADER)):
        raise ValueError("an alias in it")  # a few of them, nested, stand for more data than any memory holds
    return yaml.load(text, _LOADER)


def _plain(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        found = parse(_text(file))
        _check_plain(found)
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except Exception as error:  # of any kind: what PyYAML's constructors raise depends on the text
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())}") from None
    return found


def _text(file: Path) -> str:
    largest = _LARGEST.get(file.suffix, _LARGEST_OTHER)
    if not file.is_file():  # to read a pipe may take for ever
        raise ValueError("no file")
    if file.stat().st_size > largest:
        raise ValueError(f"more than {largest // 2**20} MB")
    return file.read_text("utf-8")


def _check_plain(value: object, depth: int = 0) -> None:
    """Raise ValueError for data other than text, numbers, true, false, null, lists, and mappings by text."""
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} levels")
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{name!r} where a name should be")  # noqa: TRY004
            _check_plain(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check_plain(part, depth + 1)
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"a value of type {type(value).__name__}")  # noqa: TRY004
