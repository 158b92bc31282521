"""UserError and the checks that raise it for a user's mistakes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

_MANY = 20  # names that still read well on one line
_LONG, _LONGEST = 120, 1000  # characters of a quoted text, and of a message
# Control characters, among them those that begin a terminal's commands and those that reverse the direction of text,
# separators of lines, and the bytes of a path that are no text.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """A mistake in the user's input; the message is one line that says what is wrong and what would be right.

    The command line prints the message and exits with status 2; Python code receives the exception.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())  # a quoted name may contain line breaks
        super().__init__(visible(_shortened(line, _LONGEST)))


def visible(text: str) -> str:
    """Return a text with every character that could steer a terminal written out, as \\x1b.

    Names and paths of received files may contain any character.
    """
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], text)


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
        number = isinstance(value, Real)
        if value is not None and not (number and least <= value < math.inf):
            wanted = "a finite number" if number and not math.isfinite(value) else f"at least {least}"
            raise UserError(f"setting {prefix}{name} must be {wanted}, not {value}")


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, which may be one of NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole(name: str, value: object, least: int = 1) -> int:
    """Return a whole number; raises UserError for any other value, and below `least`."""
    if not is_whole(value):
        raise UserError(f"setting {name} takes a whole number, not {shown(repr(value))}")
    if value < least:
        raise UserError(f"setting {name} must be at least {least}, not {value}")
    return int(value)


def names_given(setting: str, given: object) -> list[Any]:
    """Return the names in a row, or in a text with commas between them; raises UserError for anything else."""
    if isinstance(given, str):
        return [name.strip() for name in given.split(",") if name.strip()]
    if not isinstance(given, Iterable):
        raise UserError(f"{setting} takes names, as a list or a text with commas, not {shown(repr(given))}")
    return list(given)


def reason_of(error: Exception) -> str:
    """Return the system's words for an error, without number and path; those of the program where it has none."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def place_of(error: BaseException) -> str:
    """Return the last line of the user's own code that led to an error, as " (spaces.py, line 3)"; "" if none did.

    The user's own is what lies neither in this package nor among Python's libraries.
    """
    from sysconfig import get_paths  # imported here, since every start of a command reads this file
    from traceback import extract_tb

    others = [Path(__file__).parent, *(Path(get_paths()[name]) for name in ("stdlib", "purelib", "platlib"))]
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(other) for other in others)]
    if not own:
        return ""
    file, here = Path(own[-1].filename), Path.cwd()
    return f" ({file.relative_to(here) if file.is_relative_to(here) else file}, line {own[-1].lineno})"
