"""The command to type after each command."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from supernet.report.text import as_argument

if TYPE_CHECKING:
    from pathlib import Path

    from supernet.report.console import Console

# What follows each command, where RUN is the folder that it wrote or was about, and DATA the images.
_NEXT = {
    "search": "retrain RUN",
    "compare": "evaluate RUN",
    "select": "retrain RUN",
    "front": "retrain RUN",
    "data": "search DATA",
    "retrain": "evaluate RUN",
    "baseline": "evaluate RUN",
    "evaluate": "predict RUN IMAGE ...",
    "predict": "export RUN --format torch",
    "export": "predict RUN IMAGE ...",
    "landscape": "select RUN",
    "strength": "select RUN",
    "rank": "select RUN --with best-of-samples",
    "tabular": "search digits --method nao-v2-small",
    "query": "search digits",
    "architectures": "retrain NAME --data DATA",
    "spaces": "search digits --space NAME",
    "methods": "search digits --method NAME",
    "selectors": "select RUN --with NAME",
}


def show_next(console: Console, command: str, subject: str | Path | None = None) -> None:
    """Print the command that follows `command`, on a run or on images.

    After lines of data, which programs read, on a terminal alone.
    """
    if console.is_terminal or command not in ("predict", "query", "architectures", "spaces", "methods", "selectors"):
        words = _NEXT[command]
        if subject is not None:
            own = _own(subject) if "RUN" in words else ""
            words = re.sub("RUN|DATA", lambda _: shlex.quote(as_argument(subject)), words) + own
        show_line(console, words)


def show_line(console: Console, words: str) -> None:
    """Print a command, without its first word, as the next one."""
    from supernet.report.console import line

    line(console, f"next          supernet {words}")


def _own(run: str | Path) -> str:
    """Return the option, if any, that names the space of a run again, one of the user's own."""
    from supernet.engine.run import Run

    found = Run(run)
    space = "" if found.task is None else str(found.config["space"])
    return f" --space {shlex.quote(space)}" if ":" in space else ""
