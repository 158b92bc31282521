"""The parsing of typed arguments, whose mistakes become one line each."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import make_dataclass
from functools import partial
from typing import Annotated, Any

import tyro
from tyro.conf import Fixed, FlagCreatePairsOff, Positional, Suppress, arg

from supernet.errors import UserError
from supernet.registry import import_typed

Arguments = Sequence[str]

HIDDEN = Annotated[Any, Fixed, Suppress]
"""The type of a setting that a command line does not have."""

ARGUMENTS = "\0"
"""Given to a command in place of its arguments, it raises `Declared` with the class of these."""


class Declared(Exception):  # noqa: N818  not a mistake
    """The arguments of a command, as `parse` got them."""

    def __init__(self, arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments


def option(kind: Any, about: str, **more: Any) -> Any:
    """Return the type of an argument with its help text."""
    return Annotated[kind, arg(help=about, **more)]


def import_own(given: Arguments) -> None:
    """Import the user's own modules, which --space module:NAME, --method module:Class and so on name."""
    for flag, kind in (("space", "space"), ("method", "method"), ("selector", "selector"), ("with", "selector")):
        name = peek(given, flag, "")
        if ":" in name:
            import_typed(kind, name)


def of_a_search(run: str = "folder of a search, finished or not") -> list[Any]:
    """Return the fields of a class of arguments that say which search a command is about, and what leads back to it."""
    own = "if it is one of your own"
    return [
        ("run", option(Positional[str], run, metavar="RUN")),
        ("data", option(str | None, "the search's images, if they have moved", metavar="DATA"), None),
        ("space", option(str | None, f"the search's space as module:NAME, {own}", metavar="STR"), None),
        ("method", option(str | None, f"the search's method as module:Class, {own}", metavar="STR"), None),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
    ]


def same_command(given: Arguments) -> str:
    """Return the words for the command that goes on where this one was stopped: --force would begin anew."""
    return "the same command without --force" if "--force" in given else "the same command"


def peek(given: Arguments, name: str, default: Any) -> Any:
    """Return the last value of --name, which decides on further arguments, before the arguments are parsed."""
    flag, value = f"--{name}", default
    for word, after in zip(given, [*given, default][1:], strict=True):
        if word == flag:
            value = after
        elif word.startswith(f"{flag}="):
            value = word.removeprefix(f"{flag}=")
    return value


def derived(settings: type, about: str, types: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return an instance of a class of arguments derived from `settings`, with `values` as the defaults.

    `types` replaces the types of fields, and adds fields.
    """
    fields: list[Any] = [(name, kind, None) for name, kind in types.items()]
    kind = make_dataclass(
        settings.__name__, fields, bases=(settings,), namespace={"__doc__": about}, kw_only=True, frozen=True
    )
    return kind(**values)


def parse(command: str, arguments: Any, given: Arguments) -> Any:
    """Parse the arguments of a command, given as a class or as an instance with the defaults.

    A mistake becomes one line instead of the parser's box of several. Exits after --help and --help-all.
    """
    if ARGUMENTS in given:
        raise Declared(arguments)
    prog, default = f"supernet {command}", None if isinstance(arguments, type) else arguments
    read = partial(tyro.cli, arguments if default is None else type(default), prog=prog, config=(FlagCreatePairsOff,))
    read = read if default is None else partial(read, default=default)
    if asked := {"-h", "--help", "--help-all"} & set(given):
        from supernet.cli.help import show

        chosen = any(peek(given, name, None) for name in ("method", "selector", "recipe", "with"))
        show(_page(read), prog, everything="--help-all" in asked, chosen=chosen)
        raise SystemExit(0)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return read(args=list(given))
    except SystemExit as stop:
        if (mistake := _behind(stop)) is not None:
            raise mistake from None
        raise UserError(f"{_one_line(complaint.getvalue(), _page(read))} (see {prog} --help)") from None


def _behind(error: BaseException | None) -> UserError | None:
    """Return the mistake that made a class of arguments refuse its values, which the parser would put into a box."""
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return error


def _page(read: Callable[..., Any]) -> str:
    """Return the parser's own help page, in one column."""
    page, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "120"
    try:
        with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
            read(args=["--help"])
    finally:
        del os.environ["COLUMNS"]
        os.environ |= {} if width is None else {"COLUMNS": width}
    return page.getvalue()


_SHORTER = {
    r"Missing from [^:]*: (\S+) (.*) \(required\).*": r"missing \1: \2",
    r"Missing value for argument '(--.*?)'.*": r"missing value of \1",
    r"Missing value for argument '(.*?)'.*": r"missing \1",
    r"Error parsing (\S+): .*?'(.*?)'.* Argument helptext: \S+ (\S+) .*": r"\1 takes \3, not '\2'",
    r"Unrecognized options: (.*?)( Perhaps you meant: .*)?": r"unexpected \1",
}


def _one_line(box: str, page: str) -> str:
    """Return the message in the parser's `box` as one line, with the nearest option on the help `page`."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # below the title
    text = " ".join(line for line in lines if line and not line.startswith(("─", "╰", "---", "For full helptext")))
    if option := re.match(r"Unrecognized options: (--[^\s,=]+)", text):
        near = difflib.get_close_matches(option[1], re.findall(r"--[a-z][\w.-]*", page), n=1)
        return f"unknown option {option[1]}" + "".join(f"; did you mean {name}?" for name in near)
    for pattern, shorter in _SHORTER.items():
        text = re.sub(f"^{pattern}$", shorter, text)
    return re.sub(r"^invalid choice '(.*)' for argument '(.*?)'\. Expected one of \((.*)\)\.$", _choices, text)


def _choices(complaint: re.Match[str]) -> str:
    """Return the complaint about a value that is none of an argument's choices."""
    given, name, choices = complaint.groups()
    named = choices.replace("'", "").split(", ")
    if "True" in named:  # those of a bool come in any order
        named.sort(key=["True", "False", "None"].index)
    *others, last = named
    return f"{name if name.startswith('-') else name.upper()} takes {', '.join(others)} or {last}, not '{given}'"
