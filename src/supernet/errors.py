"""The one kind of error a user's mistake becomes: a single clear line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from importlib import import_module
from typing import Any

_MANY = 20  # names that a person still reads in one line


class UserError(Exception):
    """A mistake in what the user gave; its message is one line that says what was wrong and what would be right.

    The command line prints the message and exits with status 2; from Python it is raised as it is.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a name that it repeats may have several


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not among the `known` ones: the nearest of them, and all if they are few."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    if len(names) > _MANY:
        names = [*difflib.get_close_matches(name, names, n=_MANY, cutoff=0.3), "..."]
    return UserError(f"unknown {kind} '{name}'{hint} known: {', '.join(names)}")


def at_least(least: int, prefix: str = "", **settings: float | None) -> None:
    """Raise UserError for the first of the `settings` that is below `least`, infinite or NaN; None is none."""
    for name, value in settings.items():
        if value is not None and not least <= value < math.inf:
            raise UserError(f"setting {prefix}{name} must be at least {least}, not {value}")


def imported(kind: str, target: str) -> Any:
    """Return what "module:NAME" names, which is a `kind` of thing; raises UserError if it cannot be imported."""
    module, _, name = target.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise UserError(f"cannot import {kind} '{target}': expected module:NAME")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import {kind} '{target}': {error}") from None
