"""The command line: `supernet search | query | spaces | methods | selectors`."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from supernet.errors import UserError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from supernet.config import Protocol

Arguments = Sequence[str]


def main(arguments: Arguments | None = None) -> None:
    """Run the command line and exit: status 0, 2 for a mistake of the user's, 130 when interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _dispatch(given)
    except UserError as error:
        print(f"supernet: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        print("supernet: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


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

    saved = _saved_config(_peek(given, "config", None))
    method = methods.method(_peek(given, "method", saved.get("method", "single-darts")))
    protocol = config.protocol(_peek(given, "protocol", "small"))
    settings = config.amend(method.load().Config(), method.settings)
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
    saved = Run(path if path.is_dir() else path.parent).config
    if not saved:
        raise UserError(f"--config '{file}': no such run folder, or no config.yaml of one")
    return saved


def _search_arguments(protocol: Protocol, settings: Any, method: str, saved: dict[str, Any]) -> type:
    """Make the typed arguments of `search`: what every search has, the protocol's fields and the method's."""
    from supernet.methods import METHODS
    from supernet.spaces import SPACES

    def option(kind: Any, about: str, **more: Any) -> Any:
        return Annotated[kind, arg(help=about, **more)]

    data = option(Positional[str], "digits (embedded), an .npz file, or a folder of class folders", metavar="DATA")
    fields: list[Any] = [
        ("data", data, saved["source"]) if saved else ("data", data),
        ("space", option(str, f"search space: {', '.join(SPACES)}"), saved.get("space", "nasbench201")),
        ("method", option(str, f"method: {', '.join(METHODS)}, or your own as module:Class"), method),
        ("selector", option(str | None, "how the architecture is read out; None is the method's own"), None),
        ("protocol", option(str, "small or nasbench201: what the settings below start from"), "small"),
        ("config", option(str | None, "a run folder whose settings to start from instead"), None),
        ("seed", option(int, "seed of everything drawn"), saved.get("seed", 0)),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "run folder; None makes a name under runs/"), None),
        ("force", option(bool, "start over a run that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        ("diagnose", option(bool, "log gradient diagnostics (Single-DARTS, figures 2 and 3)"), False),
        ("shared", Annotated[type(protocol), arg(name="")], protocol),
        ("own", Annotated[type(settings), arg(name="")], settings),
    ]
    return make_dataclass("Search", fields, namespace={"__doc__": "Search for an architecture."})


@dataclass(frozen=True)
class Query:
    """Look an architecture up in a table."""

    architecture: Positional[str | None] = None
    """index, or architecture string in quotes"""
    best: str | None = None
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
        print(
            json.dumps({"index": index, "architecture": str(table.genotype(index))} | table.row(index, hardware=True))
        )
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
    """Return the value of --name before the arguments are parsed: it decides which arguments there are."""
    flag = f"--{name}"
    for place, word in enumerate(given):
        if word == flag and place + 1 < len(given):
            return given[place + 1]
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return default


def _parse(command: str, kind: type, given: Arguments) -> Any:
    """Parse typed arguments; a mistake becomes one line instead of the parser's box of several."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=list(given), prog=f"supernet {command}", config=(FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(f"{_one_line(complaint.getvalue())} (see supernet {command} --help)") from None


def _one_line(box: str) -> str:
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    text = [line for line in lines if line and not line.startswith("─") and not line.startswith("For full helptext")]
    return " ".join(text)


def _console() -> Console:
    from rich.console import Console

    return Console()
