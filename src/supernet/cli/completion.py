"""`supernet completion`: the script with which a shell completes commands and options."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from operator import or_
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from supernet.cli.parsing import ARGUMENTS, Arguments, Declared, parse


@dataclass(frozen=True)
class Completion:
    """Print the script that completes commands and options when you press the tab key."""

    shell: Annotated[Positional[Literal["bash", "zsh", "fish"]], arg(metavar="SHELL", help="bash, zsh or fish")]


def completion(given: Arguments) -> None:
    """Print a completion script."""
    from supernet.cli import COMMANDS

    shell = parse("completion", Completion, given).shell
    every: Any = reduce(or_, (_subcommand(name, place) for name, (place, _) in COMMANDS.items()))
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        written = ["--tyro-write-completion", shell, "-"]
        tyro.cli(every, prog="supernet", args=written, config=(FlagCreatePairsOff,))
    # The script runs Python, which is not to look for its modules in the current folder.
    print(re.sub(r'(\$python_cmd"?) (-c? )', r"\1 -I \2", script.getvalue()), end="")


def _subcommand(name: str, place: str) -> Any:
    """Return the type of the arguments of a command, under its name."""
    module, _, function = place.partition(":")
    try:
        getattr(import_module(f"supernet.cli.{module}"), function)([ARGUMENTS])
    except Declared as declared:
        kind = declared.arguments
    if isinstance(kind, type):
        return Annotated[kind, subcommand(name, prefix_name=False)]
    return Annotated[type(kind), subcommand(name, default=kind, prefix_name=False)]
