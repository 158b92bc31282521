"""UserError and the checks that raise it for a user's mistakes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

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
