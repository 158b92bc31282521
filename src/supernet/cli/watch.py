"""`supernet watch`: the progress of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, parse

_SECONDS = 1.0  # between two looks at the run


@dataclass(frozen=True)
class Watch:
    """Show the progress of a run or a comparison: curves, cell, table and time left. Nothing is written."""

    run: Annotated[
        Positional[str], arg(metavar="RUN", help="folder of a run or a comparison, or one that holds several runs")
    ]
    serve: bool = False
    """show it in a browser, at an address of this machine"""
    port: int = 0
    """number of that address; 0 takes a free one"""


def watch(given: Arguments) -> None:
    """Show the progress of a run until it ends; where the output is no terminal, once."""
    from supernet.report import watch as watching
    from supernet.report.console import Console, line
    from supernet.searching.compare.watch import looked

    def look(folder: str) -> watching.What:
        return looked(folder) or watching.watched(folder)

    asked, console = parse("watch", Watch, given), Console()
    if asked.serve:
        from supernet.report.serve import HOST, server

        with server(asked.run, asked.port, look) as serving:
            line(console, f"http://{HOST}:{serving.server_address[1]}/  (Ctrl-C ends it)")
            serving.serve_forever()
    what = look(asked.run)
    if console.is_terminal and not console.is_dumb_terminal:
        from rich.live import Live
        from rich.text import Text

        with Live(Text(watching.text(what)), console=console, auto_refresh=False, transient=True) as live:
            while watching.goes_on(what):
                time.sleep(_SECONDS)
                what = look(asked.run)
                live.update(Text(watching.text(what)), refresh=True)
    line(console, watching.text(what))
