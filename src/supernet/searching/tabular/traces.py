"""Searches on a table over seeds, each as its trace: the accuracy of the fittest architecture after each query."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from supernet.engine.defaults import plain_torch
from supernet.engine.files import folder_given, read_json, write_atomically, writing
from supernet.engine.folder import check_free
from supernet.errors import UserError, names_given, unknown, whole
from supernet.searching.tabular.evolution import EvolutionConfig, evolution
from supernet.searching.tabular.nao import TabularNAOConfig, nao
from supernet.searching.tabular.queries import Queries, at_random
from supernet.settings import Count, amend, settings, values_of
from supernet.spaces import SearchSpace, tables
from supernet.spaces import space as space_named
from supernet.spaces.tables import Table
from supernet.spaces.tokens import Sequences

SEARCHES = ("nao", "evolution", "random")
_FILE = "tabular.json"


@settings
class TabularConfig:
    """Settings of searches on a table, and of those searches that have some."""

    queries: Count = 300
    """architectures that a search may query"""
    fitness: str = "c10_valid_12"
    """field of the table that a search sees"""
    report: str = "c10_test"
    """field of the table that is reported, of the fittest architecture so far"""
    nao: TabularNAOConfig = TabularNAOConfig()
    evolution: EvolutionConfig = EvolutionConfig()


@dataclass(frozen=True)
class Trace:
    """One search: after each query the index of the fittest architecture so far and its reported accuracy (%)."""

    seed: int
    indices: list[int]
    accuracies: list[float]
    seconds: float


@dataclass(frozen=True)
class Traces:
    """The traces of each method, one per seed, and the best reported accuracy (%) of the space in the table."""

    space: str
    best: float
    config: TabularConfig
    methods: dict[str, list[Trace]] = field(default_factory=dict)


@plain_torch()
def tabular(
    space: str | SearchSpace = "nasbench201",
    methods: str | Iterable[str] = SEARCHES,
    *,
    seeds: int = 20,
    out: str | os.PathLike[str] | None = None,
    watcher: Callable[[str, Trace], None] | None = None,
    **changes: Any,
) -> Traces:
    """Let `methods` search a space that has a table, with seeds 0, 1, ..., and return their traces.

    `methods` are names, or text as "nao,random"; `changes` are fields of TabularConfig, of which nested ones are
    mappings: nao={"pool": 50}. With `out`, a folder, `tabular.json` is written after every search, and resumed from,
    and `tabular.svg` at the end; `watcher` is called after every search that was not in the folder.

    Raises UserError for a space without a table, an unknown name, a field that is no accuracy, more queries than
    there are architectures, and a folder that holds the traces of others.
    """
    searched, config = space_named(space), amend(TabularConfig(), changes)
    table, chosen, count = _table(searched, config), names_given("methods", methods), whole("seeds", seeds)
    if not chosen:
        raise UserError(f"no search is given; known: {', '.join(SEARCHES)}")
    for method in chosen:
        if method not in SEARCHES:
            raise unknown("search of a table", method, SEARCHES)
    folder = None if out is None else folder_given(out)
    found = _resumed(Traces(searched.name, _best(searched, table, config.report), config), folder)
    for seed, method in ((seed, method) for seed in range(count) for method in chosen):
        traces = found.methods.setdefault(method, [])
        if seed not in [trace.seed for trace in traces]:
            traces.append(_searched(searched, table, method, config, seed))
            _save(found, folder)
            if watcher is not None:
                watcher(method, traces[-1])
    if folder is not None:
        _draw(found, table, folder)
    return found


def _table(space: SearchSpace, config: TabularConfig) -> Table:
    """Return the table of a space; raises UserError if it has none, or not the fields and queries asked for."""
    if space.table is None:
        raise UserError(f"space '{space.name}' has no table of accuracies, as nasbench201 has")
    if config.queries > space.size:
        raise UserError(f"setting queries must be at most {space.size}, all of '{space.name}', not {config.queries}")
    table = tables.load(space.table)
    for name in (config.fitness, config.report):
        if not table.higher_is_better(name) or np.isnan(table.column(name)).any():
            raise UserError(f"'{name}' is not an accuracy of every architecture: {table.fields[name]}")
    return table


def _searched(space: SearchSpace, table: Table, method: str, config: TabularConfig, seed: int) -> Trace:
    queries = Queries(Sequences(space), table, config.fitness, config.queries)
    rng, before = random.Random(f"{seed} {method}"), time.perf_counter()
    match method:
        case "nao":
            nao(queries, config.nao, rng)
        case "evolution":
            evolution(queries, config.evolution, rng)
        case _:
            at_random(queries, rng)
    seconds, indices = time.perf_counter() - before, queries.incumbents()
    return Trace(seed, indices, table.column(config.report)[indices].tolist(), seconds)


def _resumed(new: Traces, folder: Path | None) -> Traces:
    """Return the traces in the folder, which is made; raises UserError if it cannot be, or holds anything else."""
    if folder is None:
        return new
    with writing(folder):
        if not (file := folder / _FILE).exists():
            check_free(folder, "holds no comparison on a table")
            folder.mkdir(parents=True, exist_ok=True)
            return new
    same = asdict(new)
    del same["methods"]
    try:
        saved = read_json(file)
        kept = saved.pop("methods")
        traces = {method: [_trace(one, new) for one in some] for method, some in kept.items()} if saved == same else {}
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UserError(f"'{file}' cannot be read as a comparison: remove it, or choose another folder") from None
    if saved != same:
        raise UserError(f"'{file}' has another comparison: remove it, or choose another folder")
    return Traces(new.space, new.best, new.config, traces)


def _trace(kept: Mapping[str, Any], new: Traces) -> Trace:
    """Return a trace that a file holds; raises ValueError or TypeError if it is none."""
    trace = amend(Trace(0, [], [], 0.0), kept)
    if missing := values_of(trace).keys() - kept.keys():
        raise ValueError(f"a trace has {', '.join(sorted(missing))}")
    if not len(trace.indices) == len(trace.accuracies) == new.config.queries:
        raise ValueError("a trace has an entry for each query")
    return trace


def _best(space: SearchSpace, table: Table, report: str) -> float:
    """Return the highest value of the space's architectures, which may be some of the table's."""
    for index in np.argsort(-table.column(report), kind="stable"):
        with suppress(UserError):
            space.check(table.genotype(int(index)))
            return float(table.column(report)[index])
    raise UserError(f"space '{space.name}' has no architecture of {table.name}")


def _save(found: Traces, folder: Path | None) -> None:
    if folder is not None:
        write_atomically(folder / _FILE, (json.dumps(asdict(found)) + "\n").encode())


def _draw(found: Traces, table: Table, out: Path) -> None:
    from supernet.report import plots

    curves = {method: [trace.accuracies for trace in traces] for method, traces in found.methods.items()}
    label = f"{table.title(found.config.report)} of the fittest so far (%)"
    plots.save(plots.draw_tabular(curves, {"best there is": found.best}, label), out / "tabular.svg")
