"""How a run is driven: the arguments that every call has which makes a run, beside its configuration."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, fields
from typing import Annotated, Any

from supernet.engine.loop import Watcher
from supernet.settings import OfType, settings


@settings
class Driving:
    """Where a run goes, and who is told of its progress."""

    _: KW_ONLY
    out: Annotated[str | os.PathLike[str] | None, OfType(str, os.PathLike, type(None))] = None
    """run folder; None makes a name from the settings"""
    force: bool = False
    """start over a run that is there"""
    quiet: bool = False
    """no progress"""
    watcher: Annotated[Watcher | None, OfType(Watcher, type(None))] = None
    """told of the progress instead of the terminal; in Python only"""


def driving(arguments: dict[str, Any]) -> Driving:
    """Take the arguments of `Driving` out of those of a call."""
    names = [entry.name for entry in fields(Driving) if entry.name in arguments]
    return Driving(**{name: arguments.pop(name) for name in names})
