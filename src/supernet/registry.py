"""Names of code: published ones, each a class and its settings, and the user's own, which are "module:NAME"."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from supernet.errors import UserError, place_of, unknown

T = TypeVar("T")
P = TypeVar("P", bound="Preset[Any]")

OWN: list[tuple[str, str]] = []
"""The modules that `import_typed` has imported, each with the folder it may lie in; other processes need them, too."""


def imported(kind: str, target: str) -> Any:
    """Import and return the object named "module:NAME", a `kind` of object in the UserError that a failure raises."""
    module, _, name = target.partition(":")
    if not is_own(target):
        raise UserError(f"cannot import {kind} '{target}': expected module:NAME")
    try:
        found = import_module(module)
    except (ImportError, AttributeError, UserError) as error:
        raise UserError(f"cannot import {kind} '{target}': {error}{place_of(error)}") from None
    try:
        return getattr(found, name)
    except AttributeError as error:
        raise UserError(f"cannot import {kind} '{target}': {error}") from None


def import_typed(kind: str, target: str) -> None:
    """Import the module of a "module:NAME" that the user typed, which may lie in the current folder.

    No other module is ever taken from there: a folder of images may hold a matplotlib.py. Raises UserError.
    """
    folder = str(Path.cwd())
    with _searched_last(folder):
        imported(kind, target)
    OWN.append((folder, target.partition(":")[0]))


def import_again(own: Iterable[tuple[str, str]]) -> None:
    """Import the modules in `OWN` of another process."""
    for folder, module in own:
        with _searched_last(folder):
            import_module(module)


@contextmanager
def _searched_last(folder: str) -> Iterator[None]:
    """Let modules that lie nowhere else be imported from a folder."""
    sys.path.append(folder)
    invalidate_caches()
    try:
        yield
    finally:
        del sys.path[-1 - sys.path[::-1].index(folder)]


def recorded(kind: str, name: object, known: Container[str], option: str = "") -> str:
    """Return the name of code that a file holds, if it is one of the published names `known`.

    Raises UserError for any other: a file that somebody sent must not choose the code that is run, so the user does, by
    the option of that kind, unless `option` is another one.
    """
    if isinstance(name, str) and name in known:
        return name
    typed = name if is_own(str(name)) else f"module:{'NAME' if kind == 'space' else 'Class'}"
    given = option or kind
    raise UserError(f"{kind} '{name}' is one of your own: give it, too, as --{given} {typed}, or {given}= in Python")


def is_own(text: str) -> bool:
    """Return whether a text has the form "module:NAME"."""
    module, _, name = text.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), name))


@dataclass(frozen=True)
class Preset(Generic[T]):
    """A published name: the class behind it and the settings that it starts from.

    - `target`: the class, or "module:Class", which is imported when the preset is loaded.
    - `settings`: may be nested; {"alpha": {"lr": 3e-4}} changes that field of `alpha` alone.
    - `kind`, `base`: what messages call such a preset, and the class that `target` derives from, as "module:Class".
    """

    kind: ClassVar[str]
    base: ClassVar[str]

    name: str
    target: str | type[T]
    summary: str
    paper: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type[T]:
        """Return the class, imported if need be.

        Raises UserError if there is none, if it has another base, or if it lacks what each class has to define.
        """
        found = imported(self.kind, self.target) if isinstance(self.target, str) else self.target
        base = imported(self.kind, self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise UserError(f"{self.kind} '{self.name}' is not a class derived from supernet.{base.__name__}")
        if lacking := ", ".join(sorted(getattr(found, "__abstractmethods__", ()))):
            raise UserError(f"{self.kind} '{self.name}' lacks what supernet.{base.__name__} leaves to it: {lacking}")
        return found


class Registry(dict[str, P]):
    """Presets of one kind by name."""

    def __init__(self, presets: Iterable[P]) -> None:
        super().__init__((preset.name, preset) for preset in presets)

    def named(self, which: str | type[Any]) -> P:
        """Return the preset of that name, or one for a class of your own: the class itself, or "module:Class".

        Raises UserError for an unknown name.
        """
        if isinstance(which, str) and which in self:
            return self[which]
        make = type(next(iter(self.values())))
        if not isinstance(which, str | type):
            raise UserError(f"{make.kind} cannot be of type {type(which).__name__}: {which!r}")
        if isinstance(which, str) and ":" not in which:
            raise unknown(make.kind, which, self)
        name = which if isinstance(which, str) else f"{which.__module__}:{which.__qualname__}"
        return make(name, which, "your own", "")
