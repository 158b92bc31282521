"""UserError and the checks that raise it for a user's mistakes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from importlib import import_module
from numbers import Real
from typing import Any

_MANY = 20  # names that still read well on one line
_LONG, _LONGEST = 120, 1000  # characters of a quoted text, and of a message


class UserError(Exception):
    """A mistake in the user's input; the message is one line that says what is wrong and what would be right.

    The command line prints the message and exits with status 2; Python code receives the exception.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())  # a quoted name may contain line breaks
        super().__init__(_shortened(line, _LONGEST))


def shown(text: object) -> str:
    """Return a text as a message quotes it: in one line, and without its middle if it is long."""
    return _shortened(" ".join(str(text).split()), _LONG)


def _shortened(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most * 2 // 3]} ... {line[-(most // 3 - 5) :]}"


def unknown(kind: str, name: object, known: Iterable[str], listed: str = "") -> UserError:
    """Build the error for a name that is not one of `known`; it suggests the nearest name and lists up to 20.

    Of more names it lists the nearest, or the first if none is near, with their number; `listed` says where all are.
    """
    text, names, count = shown(name), list(known), ""
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    if len(names) > _MANY:
        count = f", ... ({len(names)} in all{listed and f': see {listed}'})"
        names = difflib.get_close_matches(text, names, n=_MANY, cutoff=0.3) or names[:_MANY]
    return UserError(f"unknown {kind} '{text}'{hint} known: {', '.join(names)}{count}")


def at_least(least: int, prefix: str = "", **settings: float | None) -> None:
    """Raise UserError for the first setting that is below `least`, infinite or NaN; settings of None are skipped."""
    for name, value in settings.items():
        if value is not None and not (isinstance(value, Real) and least <= value < math.inf):
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
