"""Typed arguments, and a mistake in them as one line."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, arg

from supernet.errors import UserError

Arguments = Sequence[str]


def option(kind: Any, about: str, **more: Any) -> Any:
    """Return the type of an argument with its help."""
    return Annotated[kind, arg(help=about, **more)]


def allow_own_modules() -> None:
    """Let --method module:Class and --space module:NAME be of a module in the current folder."""
    sys.path.insert(0, "")


def peek(given: Arguments, name: str, default: Any) -> Any:
    """Return the last value of --name before the arguments are parsed: it decides which arguments there are."""
    flag, value = f"--{name}", default
    for word, after in zip(given, [*given, default][1:], strict=True):
        if word == flag:
            value = after
        elif word.startswith(f"{flag}="):
            value = word.removeprefix(f"{flag}=")
    return value


def parse(command: str, kind: type, given: Arguments) -> Any:
    """Parse typed arguments; a mistake becomes one line instead of the parser's box of several."""
    prog = f"supernet {command}"
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=list(given), prog=prog, config=(FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], prog=prog, config=(FlagCreatePairsOff,))
    raise UserError(f"{_one_line(complaint.getvalue(), page.getvalue())} (see {prog} --help)")


_SHORTER = {
    r"Missing from [^:]*: (\S+) (.*) \(required\).*": r"missing \1: \2",
    r"Missing value for argument '(--.*?)'.*": r"missing value of \1",
    r"Missing value for argument '(.*?)'.*": r"missing \1",
    r"Error parsing (\S+): .*?'(.*?)'.* Argument helptext: \S+ (\S+) .*": r"\1 takes \3, not '\2'",
    r"Unrecognized options: (.*?)( Perhaps you meant: .*)?": r"unexpected \1",
}


def _one_line(box: str, page: str) -> str:
    """Say what the parser's `box` says in one line, with the nearest option on the help `page` for an unknown one."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # below the title
    text = " ".join(line for line in lines if line and not line.startswith(("─", "╰", "---", "For full helptext")))
    if option := re.match(r"Unrecognized options: (--[^\s,=]+)", text):
        near = difflib.get_close_matches(option[1], re.findall(r"--[a-z][\w.-]*", page), n=1)
        return f"unknown option {option[1]}" + "".join(f"; did you mean {name}?" for name in near)
    for pattern, shorter in _SHORTER.items():
        text = re.sub(f"^{pattern}$", shorter, text)
    return text
