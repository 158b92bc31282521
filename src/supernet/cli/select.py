"""`supernet select`."""

from __future__ import annotations

from dataclasses import asdict, make_dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, allow_own_modules, option, parse, peek

ABOUT = "Read an architecture out of a search by another selector, without searching again."


def select(given: Arguments) -> None:
    """Read an architecture out of a search by another selector."""
    from supernet.report import console, progress
    from supernet.searching import select as selecting
    from supernet.searching.config import config_of
    from supernet.selectors import SELECTORS

    allow_own_modules()
    preset = SELECTORS.named(peek(given, "with", "perturbation"))
    call = parse("select", _arguments(config_of(preset)), given)
    plan = selecting.selection_plan(
        call.run,
        preset.name,
        data=call.data,
        space=call.space,
        seed=call.seed,
        device=call.device,
        **asdict(call.config),
    )
    again = {"force": call.force, "resume_anyway": call.resume_anyway}
    run = selecting.start(plan, out=call.out, watcher=progress.watcher(quiet=call.quiet), **again)
    shown = console.Console()
    console.result(shown, run)
    console.selections(shown, selecting.selections(plan.run))


def _arguments(config: Any) -> type:
    """Return the typed arguments of `select`: its own, and the fields of the selector's config."""
    from supernet.selectors import SELECTORS

    names = f"selector: {', '.join(SELECTORS)}, or your own as module:Class"
    fields: list[Any] = [
        ("run", option(Positional[str], "folder of a search, finished or not", metavar="RUN")),
        ("selector", option(str, names, name="with", metavar="NAME"), "perturbation"),
        ("data", option(str | None, "the search's images, if they have moved", metavar="DATA"), None),
        ("space", option(str | None, "the search's space as module:NAME, if it is one of your own"), None),
        ("seed", option(int | None, "seed of everything drawn; None is the search's", metavar="INT"), None),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "folder; None is in the search's, under selections/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a selection that is there"), False),
        ("resume_anyway", option(bool, "go on with a selection where it ends with other bits"), False),
        ("quiet", option(bool, "no progress"), False),
        ("config", Annotated[type(config), arg(name="")], config),
    ]
    return make_dataclass("Select", fields, namespace={"__doc__": ABOUT})
