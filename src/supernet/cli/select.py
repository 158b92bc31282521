"""`supernet select`."""

from __future__ import annotations

from dataclasses import asdict, make_dataclass
from typing import Annotated, Any

from tyro.conf import arg

from supernet.cli.after import show_next
from supernet.cli.launch import NONE, OPTIONS, launched
from supernet.cli.parsing import Arguments, import_own, of_a_search, option, parse, peek

ABOUT = "Read an architecture out of a search by another selector, without searching again."


def select(given: Arguments) -> None:
    """Read an architecture out of a search by another selector."""
    from supernet.engine.driving import agreed, driving
    from supernet.engine.process_group import joined
    from supernet.report import console
    from supernet.searching import select as selecting
    from supernet.searching.config import config_of
    from supernet.selectors import SELECTORS

    import_own(given)
    preset = SELECTORS.named(peek(given, "with", "perturbation"))
    call = parse("select", _arguments(config_of(preset)), given)
    if launched("select", given):
        return
    named = {name: getattr(call, name) for name in ("data", "space", "method", "seed", "device")}
    how = driving(vars(call))
    with joined() as first:
        _, plan = agreed(lambda: (how, selecting.selection_plan(call.run, preset.name, **named, **asdict(call.config))))
        run = selecting.start(plan, how)
    if not first:
        return
    shown = console.Console()
    console.result(shown, run, table=call.table)
    console.selections(shown, selecting.selections(plan.run), table=call.table)
    if not how.quiet:
        show_next(shown, "select", run.path)


def _arguments(config: Any) -> type:
    """Return the typed arguments of `select`: its own, and the fields of the selector's config."""
    from supernet.selectors import SELECTORS

    logs = "also write each epoch elsewhere: csv, tensorboard, mlflow, wandb, or several with commas between them"
    names = f"selector: {', '.join(SELECTORS)}, or your own as module:Class"
    fields: list[Any] = [
        *of_a_search(),
        ("selector", option(str, names, name="with", metavar="NAME"), "perturbation"),
        ("seed", option(int | None, "seed of everything drawn; None is the search's", metavar="INT"), None),
        ("out", option(str | None, "folder; None is in the search's, under selections/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a selection that is there"), False),
        ("resume_anyway", option(bool, "go on with a selection where it ends with other bits"), False),
        ("table", option(bool, "show a table's accuracies, though they are of other images"), False),
        ("quiet", option(bool, "no progress"), False),
        ("log", option(str, logs), ""),
        *((name, kind, NONE[name]) for name, kind in OPTIONS.items()),
        ("config", Annotated[type(config), arg(name="")], config),
    ]
    return make_dataclass("Select", fields, namespace={"__doc__": ABOUT})
