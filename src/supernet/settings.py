"""Settings: how presets, files and flags become one typed whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from supernet.errors import UserError, unknown

T = TypeVar("T")


def amend(settings: T, changes: Mapping[str, Any]) -> T:
    """Return `settings`, a dataclass instance, with `changes`, which may be nested.

    Raises UserError for an unknown name or a value of the wrong type.
    """
    _known(settings, changes, "")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(settings), dict(changes))
        amended: T = OmegaConf.to_object(merged)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"setting {error.full_key}: {reason[0].lower()}{reason[1:]}") from None
    return amended


def _known(settings: Any, changes: Mapping[str, Any], prefix: str) -> None:
    names = [entry.name for entry in fields(settings)]
    for name, value in changes.items():
        if name not in names:
            raise unknown("setting", f"{prefix}{name}", [f"{prefix}{known}" for known in names])
        inner = getattr(settings, name)
        if is_dataclass(inner) and isinstance(value, Mapping):
            _known(inner, value, f"{prefix}{name}.")
        elif is_dataclass(inner) and not isinstance(value, type(inner) | None):
            raise UserError(f"setting {prefix}{name} takes a {type(inner).__name__} or a dict of its fields: {value!r}")


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that no random generator takes."""
    if not 0 <= seed < 2**63:
        raise UserError(f"seed must be between 0 and 2**63 - 1, not {seed}")


def check_kinds(**choices: tuple[Any, Any]) -> None:
    """Raise UserError for the first of the choices, (value, type), that is of another type."""
    for name, (value, kind) in choices.items():
        if not isinstance(value, kind):
            raise UserError(f"{name} cannot be of type {type(value).__name__}: {value!r}")
