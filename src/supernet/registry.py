"""Registry: published names, each a class and the settings that make it what was published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from supernet.errors import UserError, imported, unknown

T = TypeVar("T")
P = TypeVar("P", bound="Preset[Any]")


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
        """Return the class, imported if need be; raises UserError if there is none, or if it has another base."""
        found = imported(self.kind, self.target) if isinstance(self.target, str) else self.target
        base = imported(self.kind, self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise UserError(f"{self.kind} '{self.name}' is not a class derived from supernet.{base.__name__}")
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
