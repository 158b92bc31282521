"""UserError and the checks that raise it for a user's mistakes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

_MANY = 20  # names that still read well on one line
# Control characters, among them those that begin a terminal's commands and those that reverse the direction of text,
# separators of lines, and the bytes of a path that are no text.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(Exception):
    """A mistake in the user's input; the message is one line that says what is wrong and what would be right.

    The command line prints the message and exits with status 2; Python code receives the exception.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.splitlines())))  # a quoted name may contain line breaks


def visible(text: str) -> str:
    """Return a text with every character that could steer a terminal written out, as \\x1b.

    Names and paths of received files may contain any character.
    """
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], text)


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
            wanted = f"at least {least}" if math.isfinite(value) else "a finite number"
            raise UserError(f"setting {prefix}{name} must be {wanted}, not {value}")
