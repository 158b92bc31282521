"""UserError and the checks that raise it for a user's mistakes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from importlib import import_module
from typing import Any

_MANY = 20  # names that still read well on one line


class UserError(Exception):
    """A mistake in the user's input; the message is one line that says what is wrong and what would be right.

    The command line prints the message and exits with status 2; Python code receives the exception.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a quoted name may contain line breaks


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not one of `known`; it suggests the nearest name and lists up to 20."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    if len(names) > _MANY:
        names = [*difflib.get_close_matches(name, names, n=_MANY, cutoff=0.3), "..."]
    return UserError(f"unknown {kind} '{name}'{hint} known: {', '.join(names)}")


def at_least(least: int, prefix: str = "", **settings: float | None) -> None:
    """Raise UserError for the first setting that is below `least`, infinite or NaN; settings of None are skipped."""
    for name, value in settings.items():
        if value is not None and not least <= value < math.inf:
            raise UserError(f"setting {prefix}{name} must be at least {least}, not {value}")


def imported(kind: str, target: str) -> Any:
    """Import and return the object named "module:NAME", a `kind` of object in the UserError that a failure raises."""
    module, _, name = target.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise UserError(f"cannot import {kind} '{target}': expected module:NAME")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import {kind} '{target}': {error}") from None


def reason_of(error: OSError) -> str:
    """Return the system's words for an error, without number and path; those of the program where it has none."""
    return error.strerror or " ".join(str(error).split()) or type(error).__name__
