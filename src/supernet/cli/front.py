"""`supernet front`."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, of_a_search, option, parse

ABOUT = "Select architectures along their cost from a finished search, and draw them with their accuracies."


def front(given: Arguments) -> None:
    """Select architectures along their cost, if they have not been, and show them."""
    from supernet.engine.run import Run
    from supernet.report import console
    from supernet.searching import front as fronts
    from supernet.searching.front_points import drawn

    import_own(given)
    fields: list[Any] = [
        *of_a_search("folder of a finished search"),
        ("points", option(int | None, "architectures; None is those there are, or 5", metavar="INT"), None),
        ("quiet", option(bool, "no progress"), False),
    ]
    call = vars(parse("front", make_dataclass("Front", fields, namespace={"__doc__": ABOUT}), given))
    run, quiet = Run(call.pop("run")), call["quiet"]
    asked = call.pop("points")
    there = run.summary.get("front", {}).get("asked", fronts.POINTS)
    fronts.front(run, there if asked is None else asked, **call)
    shown = console.Console()
    found = drawn(run)
    console.front(shown, found)
    console.line(shown, f"picture       {run.path}/front.svg (front.png)")
    if not quiet:
        show_next(shown, "front", run.path / found["points"][-1]["run"])
