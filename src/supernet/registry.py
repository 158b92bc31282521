"""Presets: what was published under a name, as the class that does it and the settings it starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from supernet.errors import imported, unknown

T = TypeVar("T")
P = TypeVar("P", bound="Preset[Any]")


@dataclass(frozen=True)
class Preset(ABC, Generic[T]):
    """A name that was published: the class that does it, and the settings it starts from.

    `target` is the class, or "module:Class", which is imported when it is used.
    `settings` may be nested: {"alpha": {"lr": 3e-4}} changes that field of `alpha` alone.
    """

    name: str
    target: str | type[T]
    summary: str
    paper: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type[T]:
        """Return the class, imported if need be; raises UserError if there is no such class."""
        if not isinstance(self.target, str):
            return self.target
        found: type[T] = imported(self.kind(), self.target)
        return found

    @classmethod
    @abstractmethod
    def kind(cls) -> str:
        """Return what a message calls such a thing."""


def named(which: str | type[Any], known: Mapping[str, P], kind: type[P]) -> P:
    """Return the preset of that name, or one of your own: the class, or "module:Class".

    Raises UserError if there is none of that name.
    """
    if not isinstance(which, str):
        return kind(f"{which.__module__}:{which.__qualname__}", which, "your own", "")
    if which in known:
        return known[which]
    if ":" in which:
        return kind(which, which, "your own", "")
    raise unknown(kind.kind(), which, known)
