"""The command line: `supernet search | query | spaces | methods | selectors`."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from supernet.errors import UserError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from supernet.config import Protocol

Arguments = Sequence[str]


def main(arguments: Arguments | None = None) -> None:
    """Run the command line; exit with 2 after a mistake of the user's, 130 or 141 when interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            _dispatch(given)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone can still be told from an error
    except UserError as error:
        _leave(2, str(error))
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written
        sys.exit(141)
    except OSError as error:
        _leave(2, f"{error.strerror}: '{error.filename}'" if error.filename else str(error))
    except KeyboardInterrupt:
        _leave(130, "stopped; the same command goes on from here")


def _leave(status: int, reason: str) -> NoReturn:
    print(f"supernet: {reason}", file=sys.stderr)
    sys.exit(status)


def _dispatch(given: Arguments) -> None:
    if not given or given[0] in ("-h", "--help", "help"):
        print(_usage())
    elif given[0] in ("-V", "--version"):
        from supernet import __version__

        print(f"supernet {__version__}")
    elif given[0] in COMMANDS:
        COMMANDS[given[0]][0](given[1:])
    else:
        raise unknown("command", given[0], COMMANDS)


def _usage() -> str:
    lines = [f"  {name:<10} {about}" for name, (_, about) in COMMANDS.items()]
    about = "Neural architecture search by weight sharing that does not collapse."
    more = "supernet COMMAND --help tells more. Start with: supernet search digits"
    return "\n".join(["usage: supernet COMMAND ...", "", about, "", *lines, "", more])


def search(given: Arguments) -> None:
    """Search for an architecture."""
    from supernet import config, methods, screen, searching, show
    from supernet import plan as planning

    sys.path.insert(0, "")  # --method module:Class may be a module of the current folder
    saved = _saved_config(_peek(given, "config", None))
    method = methods.method(_peek(given, "method", saved.get("method", "single-darts")))
    protocol = config.protocol(_peek(given, "protocol", "small"))
    settings = planning.method_settings(method)
    if saved:
        protocol = config.amend(protocol, saved["protocol"])
        settings = config.amend(settings, saved["settings"] if saved["method"] == method.name else {})
    chosen = _parse("search", _search_arguments(protocol, settings, method.name, saved), given)
    plan = planning.plan(
        chosen.data,
        space=chosen.space,
        method=method.name,
        selector=chosen.selector,
        protocol=chosen.shared,
        settings=chosen.own,
        seed=chosen.seed,
        device=chosen.device,
        diagnose=chosen.diagnose,
    )
    console = _console()
    run = searching.start(plan, out=chosen.out, force=chosen.force, watcher=screen.watcher(quiet=chosen.quiet))
    show.result(console, run)


def _saved_config(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    from pathlib import Path

    from supernet.run import Run

    path = Path(file)
    saved = Run(path.parent if path.name == "config.yaml" else path).config
    if not saved.keys() >= {"source", "space", "method", "seed", "protocol", "settings"}:
        raise UserError(f"--config '{file}': no such run folder, or no config.yaml of a run in it")
    return saved


def _search_arguments(protocol: Protocol, settings: Any, method: str, saved: dict[str, Any]) -> type:
    """Make the typed arguments of `search`: what every search has, the protocol's fields and the method's."""
    from supernet.methods import METHODS
    from supernet.spaces import SPACES

    own = saved if saved.get("method") == method else {}

    def option(kind: Any, about: str, **more: Any) -> Any:
        return Annotated[kind, arg(help=about, **more)]

    data = option(Positional[str], "digits (embedded), an .npz file, or a folder of class folders", metavar="DATA")
    fields: list[Any] = [
        ("data", data, saved["source"]) if saved else ("data", data),
        ("space", option(str, f"search space: {', '.join(SPACES)}"), saved.get("space", "nasbench201")),
        ("method", option(str, f"method: {', '.join(METHODS)}, or your own as module:Class"), method),
        ("selector", option(str | None, "selector; None is the method's own", metavar="STR"), own.get("selector")),
        ("protocol", option(str, "small or nasbench201: what the settings below start from"), "small"),
        ("config", option(str | None, "a run folder whose settings to start from instead", metavar="FOLDER"), None),
        ("seed", option(int, "seed of everything drawn"), saved.get("seed", 0)),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "run folder; None makes a name under runs/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a run that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        (
            "diagnose",
            option(bool, "log gradient diagnostics (Single-DARTS, figures 2 and 3)"),
            saved.get("diagnose", False),
        ),
        ("shared", Annotated[type(protocol), arg(name="")], protocol),
        ("own", Annotated[type(settings), arg(name="")], settings),
    ]
    return make_dataclass("Search", fields, namespace={"__doc__": "Search for an architecture."})


@dataclass(frozen=True)
class Query:
    """Look an architecture up in a table."""

    architecture: Annotated[Positional[str | None], arg(metavar="ARCHITECTURE")] = None
    """index, or architecture string in quotes"""
    best: Annotated[str | None, arg(metavar="FIELD")] = None
    """the best architecture by this field, for example c10_test"""
    table: str = "nasbench201"
    """table to look in"""
    fields: bool = False
    """list the fields and what they mean"""
    json: bool = False
    """print every field as JSON, measured devices included"""


def query(given: Arguments) -> None:
    """Look an architecture up in a table."""
    from supernet import show, tables
    from supernet.spaces import space

    asked = _parse("query", Query, given)
    table = tables.load(asked.table)
    if asked.fields:
        show.listing(_console(), ((name, about, "") for name, about in table.fields.items()))
        return
    if (asked.architecture is None) == (asked.best is None):
        raise UserError("give an architecture (string or index) or --best FIELD: supernet query 9930")
    if asked.best is not None:
        index = table.best(asked.best)
    elif re.fullmatch(r"-?\d+", asked.architecture):
        index = table.check(int(asked.architecture))
    else:
        index = table.index(space(asked.table).parse(asked.architecture))
    if asked.json:
        values = {name: None if math.isnan(value) else value for name, value in table.row(index, hardware=True).items()}
        print(json.dumps({"index": index, "architecture": str(table.genotype(index))} | values))
        return
    console = _console()
    show.line(console, str(table.genotype(index)))
    show.known(console, table.summary(index).to_json())


def spaces(given: Arguments) -> None:
    """List the search spaces."""
    from supernet.spaces import SPACES

    _list("spaces", given, ((value.name, value.summary, value.paper) for value in SPACES.values()))


def methods(given: Arguments) -> None:
    """List the search methods."""
    from supernet.methods import METHODS

    _list("methods", given, ((value.name, value.summary, value.paper) for value in METHODS.values()))


def selectors(given: Arguments) -> None:
    """List the selectors."""
    from supernet.selectors import SELECTORS

    _list("selectors", given, ((value.name, value.summary, value.paper) for value in SELECTORS.values()))


def _list(command: str, given: Arguments, rows: Iterable[tuple[str, str, str]]) -> None:
    from supernet import show

    _parse(command, make_dataclass(command, [], namespace={"__doc__": COMMANDS[command][1]}), given)
    show.listing(_console(), rows)


COMMANDS: dict[str, tuple[Callable[[Arguments], None], str]] = {
    "search": (search, "find an architecture for your images"),
    "query": (query, "look up what is known of an architecture"),
    "spaces": (spaces, "list the search spaces"),
    "methods": (methods, "list the search methods"),
    "selectors": (selectors, "list the ways to read an architecture out of a search"),
}


def _peek(given: Arguments, name: str, default: Any) -> Any:
    """Return the last value of --name before the arguments are parsed: it decides which arguments there are."""
    flag, value = f"--{name}", default
    for word, after in zip(given, [*given, default][1:], strict=True):
        if word == flag:
            value = after
        elif word.startswith(f"{flag}="):
            value = word.removeprefix(f"{flag}=")
    return value


def _parse(command: str, kind: type, given: Arguments) -> Any:
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


def _console() -> Console:
    from supernet.show import Screen

    return Screen()
