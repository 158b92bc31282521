"""`supernet select`."""

from __future__ import annotations

from dataclasses import asdict, make_dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, allow_own_modules, option, parse, peek

ABOUT = "Read an architecture out of a search by another selector, without searching again."


def select(given: Arguments) -> None:
    """Read an architecture out of a search by another selector."""
    from supernet import selectors
    from supernet.report import console as show
    from supernet.report import progress as screen
    from supernet.searching import plan
    from supernet.searching import select as selecting

    allow_own_modules()
    preset = selectors.selector(peek(given, "with", "perturbation"))
    chosen = parse("select", _arguments(plan.selector_settings(preset)), given)
    planned = selecting.selection_plan(
        chosen.run,
        preset.name,
        data=chosen.data,
        space=chosen.space,
        seed=chosen.seed,
        device=chosen.device,
        **asdict(chosen.settings),
    )
    run = selecting.start(planned, out=chosen.out, force=chosen.force, watcher=screen.watcher(quiet=chosen.quiet))
    console = show.Console()
    show.result(console, run)
    show.selections(console, selecting.selections(planned.home))


def _arguments(settings: Any) -> type:
    """Make the typed arguments of `select`: its own, and the selector's settings."""
    from supernet.selectors import SELECTORS

    names = f"selector: {', '.join(SELECTORS)}, or your own as module:Class"
    fields: list[Any] = [
        ("run", option(Positional[str], "folder of a search, finished or not", metavar="RUN")),
        ("chosen", option(str, names, name="with", metavar="NAME"), "perturbation"),
        ("data", option(str | None, "the search's images, if they have moved", metavar="DATA"), None),
        ("space", option(str | None, "the search's space as module:NAME, if it is one of your own"), None),
        ("seed", option(int | None, "seed of what is drawn; None is the search's", metavar="INT"), None),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "folder; None is in the search's, under selections/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a selection that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        ("settings", Annotated[type(settings), arg(name="")], settings),
    ]
    return make_dataclass("Select", fields, namespace={"__doc__": ABOUT})
