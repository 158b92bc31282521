"""A comparison of searches on a table: how good what each has found is after so many queries, over seeds."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from supernet.engine.run import atomically
from supernet.errors import UserError, at_least, unknown
from supernet.searching.tabular.evolution import EvolutionConfig, evolution
from supernet.searching.tabular.nao import TabularNAOConfig, nao
from supernet.searching.tabular.queries import Queries, at_random
from supernet.settings import amend
from supernet.spaces import SearchSpace, tables
from supernet.spaces import space as space_of
from supernet.spaces.tables import Table
from supernet.spaces.tokens import Sequences

SEARCHES = ("nao", "evolution", "random")
_FILE = "tabular.json"


@dataclass(frozen=True)
class TabularConfig:
    """What is asked of a table, and the settings of the searches that have some."""

    queries: int = 300
    """architectures that a search may ask for"""
    fitness: str = "c10_valid_12"
    """field of the table that a search sees"""
    report: str = "c10_test"
    """field of the table that is reported, of the fittest architecture so far"""
    nao: TabularNAOConfig = TabularNAOConfig()
    evolution: EvolutionConfig = EvolutionConfig()

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries)


@dataclass(frozen=True)
class Trace:
    """One search: after each query the index of the fittest architecture so far and its reported accuracy (%)."""

    seed: int
    indices: list[int]
    accuracies: list[float]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The traces of each method, one per seed, and the best reported accuracy (%) that there is."""

    space: str
    best: float
    settings: TabularConfig
    methods: dict[str, list[Trace]] = field(default_factory=dict)


def tabular(
    space: str | SearchSpace = "nasbench201",
    methods: Iterable[str] = SEARCHES,
    *,
    seeds: int = 20,
    out: str | os.PathLike[str] | None = None,
    watcher: Callable[[str, Trace], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Let `methods` search a space that has a table, with seeds 0, 1, ..., and return what they find.

    The settings are those of TabularConfig; nested ones are dictionaries: nao={"pool": 50}. With `out`, a folder,
    `tabular.json` is written after every search, to go on from, and `tabular.svg` in the end; `watcher` hears of every
    search that was not there already.

    Raises UserError for a space without a table, an unknown name, a field that is no accuracy, more queries than
    there are architectures, and a folder that has another comparison.
    """
    home, amended = space_of(space), amend(TabularConfig(), settings)
    table, chosen = _table(home, amended), list(methods)
    at_least(1, seeds=seeds)
    if not chosen:
        raise UserError(f"no search is given; known: {', '.join(SEARCHES)}")
    for method in chosen:
        if method not in SEARCHES:
            raise unknown("search of a table", method, SEARCHES)
    found = _begun(Comparison(home.name, float(table.column(amended.report).max()), amended), out)
    for seed, method in ((seed, method) for seed in range(seeds) for method in chosen):
        traces = found.methods.setdefault(method, [])
        if seed not in [trace.seed for trace in traces]:
            traces.append(_searched(home, table, method, amended, seed))
            _keep(found, out)
            if watcher is not None:
                watcher(method, traces[-1])
    if out is not None:
        _draw(found, Path(out))
    return found


def _table(home: SearchSpace, settings: TabularConfig) -> Table:
    """Return the table of a space, if what is asked of it can be."""
    if home.table is None:
        raise UserError(f"space '{home.name}' has no table of accuracies, as nasbench201 has")
    if settings.queries > home.size:
        raise UserError(f"setting queries must be at most {home.size}, all of '{home.name}', not {settings.queries}")
    table = tables.load(home.table)
    for name in (settings.fitness, settings.report):
        if not table.rises(name) or np.isnan(table.column(name)).any():
            raise UserError(f"'{name}' is not an accuracy of every architecture: {table.fields[name]}")
    return table


def _searched(home: SearchSpace, table: Table, method: str, settings: TabularConfig, seed: int) -> Trace:
    queries = Queries(Sequences(home), table, settings.fitness, settings.queries)
    rng, before = random.Random(f"{seed} {method}"), time.perf_counter()
    match method:
        case "nao":
            nao(queries, settings.nao, rng)
        case "evolution":
            evolution(queries, settings.evolution, rng)
        case _:
            at_random(queries, rng)
    seconds, indices = time.perf_counter() - before, queries.incumbents()
    return Trace(seed, indices, table.column(settings.report)[indices].tolist(), seconds)


def _begun(new: Comparison, out: str | os.PathLike[str] | None) -> Comparison:
    """Return the comparison with the traces that the folder has; raises UserError if they are of another one."""
    if out is None or not (file := Path(out) / _FILE).exists():
        return new
    try:
        there = json.loads(file.read_text())
        traces = {method: [Trace(**trace) for trace in some] for method, some in there.pop("methods").items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UserError(f"'{file}' cannot be read as a comparison: remove it, or choose another folder") from None
    same = asdict(new)
    del same["methods"]
    if there != same:
        raise UserError(f"'{file}' has another comparison: remove it, or choose another folder")
    return Comparison(new.space, new.best, new.settings, traces)


def _keep(found: Comparison, out: str | os.PathLike[str] | None) -> None:
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        atomically(Path(out) / _FILE, (json.dumps(asdict(found)) + "\n").encode())


def _draw(found: Comparison, out: Path) -> None:
    from supernet.report import plots

    curves = {method: [trace.accuracies for trace in traces] for method, traces in found.methods.items()}
    label = f"{found.settings.report} of the fittest so far (%)"
    plots.save(plots.draw_tabular(curves, {"best there is": found.best}, label), out / "tabular.svg")
