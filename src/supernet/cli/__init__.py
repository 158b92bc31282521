"""The command line: one module per command, imported when it is used."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from supernet.cli.output import drop_output, told_from_files
from supernet.cli.parsing import Arguments, same_command
from supernet.errors import UserError, reason_of, unknown, visible

# Each command with its module and function, and its purpose.
COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("search:search", "search for an architecture for your images"),
    "compare": ("compare:compare", "compare methods over seeds and settings, with a table"),
    "select": ("select:select", "read an architecture out of a search by another selector"),
    "front": ("front:front", "select architectures along their cost, and draw them"),
    "retrain": ("retrain:retrain", "train one architecture from scratch"),
    "baseline": ("baseline:baseline", "train networks that need no search, at the same cost, with a table"),
    "evaluate": ("use:evaluate", "measure a retrained network"),
    "predict": ("predict:predict", "predict the classes of images"),
    "report": ("report:report", "write a page about a run, finished or not"),
    "export": ("use:export", "write a retrained network for other programs"),
    "watch": ("watch:watch", "show the progress of a run, in the terminal or in a browser"),
    "data": ("data:data", "read a set of images, check every file and say what was found"),
    "landscape": ("study:landscape", "draw the loss around the alphas of a search"),
    "strength": ("study:strength", "compare op weights with the strength of operations"),
    "rank": ("study:rank", "compare one-shot accuracies with a table's"),
    "tabular": ("tabular:tabular", "compare searches that query a table, without training"),
    "completion": ("completion:completion", "print the script with which a shell completes commands"),
    "query": ("lists:query", "look up an architecture in a table"),
    "architectures": ("architectures:architectures", "list published architectures with their sizes"),
    "spaces": ("lists:spaces", "list the search spaces"),
    "methods": ("lists:methods", "list the search methods"),
    "selectors": ("lists:selectors", "list the ways to read an architecture out of a search"),
}

_RESUMED = ("search", "compare", "select", "front", "retrain", "baseline")
_HELP = ("-h", "--help", "help")


def main(arguments: Arguments | None = None) -> None:
    """Run the command line; exit with status 2 after a user's mistake, 128 + the number of a signal that ended it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    _open_closed()
    os.environ["MPLBACKEND"] = "agg"  # no window is opened, and the name of one that is not there would end a search
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a terminal may lack letters of a class name
    try:
        with told_from_files():
            try:
                _check_place()
                _dispatch(given)
            finally:
                sys.stdout.flush()  # here, so that a reader that has gone is told from an error
    except UserError as error:
        _leave(2, str(error))
    except BrokenPipeError:  # the reader has gone, as `| head` does
        drop_output()
        sys.exit(141)
    except OSError as error:
        _leave(2, reason_of(error) + (f": '{error.filename}'" if error.filename else ""))
    except KeyboardInterrupt as stop:
        goes_on = f"; {same_command(given)} goes on from here" if _keeps(given) else ""
        _leave(getattr(stop, "status", 130), f"stopped{goes_on}")


def _keeps(given: Arguments) -> bool:
    """Return whether a command has a folder in which it goes on after a stop."""
    command, *rest = given or [""]
    if {"--dry-run", "--status", "--help", "-h", "--help-all"} & {*rest}:
        return False
    return command in _RESUMED or (command == "tabular" and any(word.startswith("--out") for word in rest))


def _open_closed() -> None:
    """Let input and outputs that were closed, as by `>&-`, lead nowhere: the next file would take their numbers."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))


def _check_place() -> None:
    """Raise UserError if the current folder is gone, where MKL ends the program with another reason."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder has been removed: cd into one that is there") from None


def _leave(status: int, reason: str) -> NoReturn:
    if _speaks():
        with suppress(OSError):  # where nobody hears it, the status tells
            print(f"supernet: {visible(reason)}", file=sys.stderr)
    sys.exit(status)


def _speaks() -> bool:
    """Return whether this process tells the user why it ends: of several that run together, the first that does."""
    if os.environ.get("WORLD_SIZE", "1") == "1":  # processes need PyTorch
        return True
    from supernet.engine.process_group import speaks_first

    return speaks_first()


def _dispatch(given: Arguments) -> None:
    if not given:
        print(_usage())
    elif given[0] in _HELP:
        about = [word for word in given if word not in _HELP]
        _dispatch([*about, "--help"] if about else [])
    elif given[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"supernet {version('supernet')}")
    elif given[0] in COMMANDS:
        module, _, function = COMMANDS[given[0]][0].partition(":")
        getattr(import_module(f"supernet.cli.{module}"), function)(given[1:])
    else:
        raise unknown("command", given[0], COMMANDS)


def _usage() -> str:
    lines = [f"  {name:<13} {about}" for name, (_, about) in COMMANDS.items()]
    about = "Neural architecture search by weight sharing that does not collapse."
    more = "supernet help COMMAND tells more. Start with: supernet search digits"
    return "\n".join(["usage: supernet COMMAND ...", "", about, "", *lines, "", more])
