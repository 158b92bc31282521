"""Pictures: the files that the arguments of a command name, by themselves, by their folder or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from supernet.errors import UserError


class Pictures:
    """The picture files that arguments name: files, folders with everything below them, and patterns.

    A file that is named by itself is taken whatever it is. `others` counts the files seen so far in folders and by
    patterns that are no pictures. Raises UserError for a pattern that nothing matches.
    """

    def __init__(self, named: Iterable[str]) -> None:
        self.named, self.others = tuple(named), 0
        for name in filter(_is_pattern, self.named):
            if not _matches(name):
                raise UserError(f"no file matches '{name}'")

    def __iter__(self) -> Iterator[str]:
        from supernet.data.layouts import walk
        from supernet.data.pictures import path_of

        for name in self.named:
            if _is_pattern(name):
                yield from self._pictures(_matches(name))
            elif (folder := path_of(name)).is_dir():
                yield from self._pictures(folder / file for file in walk(folder))
            else:
                yield name

    def _pictures(self, files: Iterable[Path]) -> Iterator[str]:
        from supernet.data.pictures import EXTENSIONS

        for file in files:
            if file.suffix.lower() in EXTENSIONS and file.is_file():
                yield str(file)
            else:
                self.others += 1


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[") and not os.path.lexists(name)


def _matches(pattern: str) -> list[Path]:
    """Return the files that a pattern matches, or that lie below a folder it matches, each by its shortest path."""
    from supernet.data.layouts import walk
    from supernet.data.pictures import path_of

    names = glob.glob(str(path_of(pattern)), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute one
    parts = ((path / file for file in walk(path)) if path.is_dir() else [path] for path in map(Path, names))
    longest_first = sorted(chain.from_iterable(parts), key=lambda path: -len(path.parts))  # ** follows links in circles
    return sorted({(path.parent.resolve(), path.name): path for path in longest_first}.values())
