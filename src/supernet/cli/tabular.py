"""`supernet tabular`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from dataclasses import make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, option, parse

if TYPE_CHECKING:
    from supernet.searching.tabular import Trace, Traces

ABOUT = "Compare searches that query a table of accuracies, without training."
_STOPS = (50, 100, 200, 300)


def tabular(given: Arguments) -> None:
    """Compare searches that query a table."""
    from supernet.report import console as show
    from supernet.searching import tabular as tabulated

    asked = parse("tabular", _arguments(tabulated.SEARCHES, tabulated.TabularConfig()), given)
    import_own(["--space", asked.space])
    config = vars(asked.config)
    found = tabulated.tabular(
        asked.space,
        asked.chosen,
        seeds=asked.seeds,
        out=asked.out,
        watcher=None if asked.quiet else _print_trace,
        **config,
    )
    console = show.Console()
    _table(console, found)
    fields = f"{found.config.report} (%) of the fittest so far by {found.config.fitness}"
    show.line(console, f"{fields}: mean ± standard deviation over n searches of s seconds.")
    show.line(console, f"best there is {found.best:.2f}")
    if asked.out is not None:
        show.line(console, f"picture       {asked.out}/tabular.svg (tabular.json)")
    if not asked.quiet:
        show_next(console, "tabular")


def _print_trace(method: str, trace: Trace) -> None:
    print(f"{method}, seed {trace.seed}: {trace.accuracies[-1]:.2f} ({trace.seconds:.1f} s)", file=sys.stderr)


def _table(console: Any, found: Traces) -> None:
    from supernet.report.console import table_of

    last = found.config.queries
    stops = sorted({stop for stop in (*_STOPS, last) if stop <= last})
    table = table_of(["queries"], (*map(str, stops), "n", "s"))
    for method, traces in found.methods.items():
        spreads = [_spread(trace.accuracies[stop - 1] for trace in traces) for stop in stops]
        seconds = statistics.fmean(trace.seconds for trace in traces)
        table.add_row(method, *spreads, str(len(traces)), f"{seconds:.1f}")
    console.print(table)


def _spread(values: Iterable[float]) -> str:
    """Return mean ± sample standard deviation."""
    found = list(values)
    mean = statistics.fmean(found)
    return f"{mean:.2f} ± {statistics.stdev(found):.2f}" if len(found) > 1 else f"{mean:.2f}"


def _arguments(methods: tuple[str, ...], config: Any) -> type:
    """Return the typed arguments of `tabular`: its own, and the fields of TabularConfig."""
    fields: list[Any] = [
        (
            "space",
            option(Positional[str], "a space with a table, or your own as module:NAME", metavar="SPACE"),
            "nasbench201",
        ),
        (
            "chosen",
            option(tuple[str, ...], f"searches: {', '.join(methods)}", name="with", metavar="NAME ..."),
            methods,
        ),
        ("seeds", option(int, "searches of each, with seeds 0, 1, ..."), 20),
        ("out", option(str | None, "folder that is written, and resumed from", metavar="FOLDER"), None),
        ("quiet", option(bool, "no progress"), False),
        ("config", Annotated[type(config), arg(name="")], config),
    ]
    return make_dataclass("Tabular", fields, namespace={"__doc__": ABOUT})
