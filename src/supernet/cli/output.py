"""The standard output while a command runs: what goes wrong there is told from what goes wrong with a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from supernet.errors import UserError, reason_of


class _Output:
    """A text file that raises UserError where it cannot be written, and BrokenPipeError if its reader is gone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        with self._told():
            return self._file.write(text)

    def flush(self) -> None:
        """Write what is still to be written."""
        with self._told():
            self._file.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            drop_output()
            raise UserError(f"cannot write the output: {reason_of(error)}") from None


def drop_output() -> None:
    """Let all further output lead nowhere, also what Python writes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def told_from_files() -> Iterator[None]:
    """Let `sys.stdout` tell its errors from those of files."""
    before = sys.stdout
    sys.stdout = cast(TextIO, _Output(before))
    try:
        yield
    finally:
        sys.stdout = before
