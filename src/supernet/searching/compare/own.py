"""Whether the finished runs in a comparison's folder are its own: another run of that name must not count unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from supernet.engine.folder import flat
from supernet.engine.run import Run
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.searching.compare.cases import Case, cases, search_config, selection_config
from supernet.searching.compare.commands import jobs_of
from supernet.searching.compare.config import Record
from supernet.settings import plain, plain_values

# Settings of a search that its plan may change, or that the place of a run decides
_OPEN = ("data", "device", "stream")
_SHOWN = 3  # settings that a line names

Asked = tuple[Path, Mapping[str, Any]]
"""A run folder, and settings that its run must have, by their dotted names."""


def foreign(record: Record, out: Path) -> list[str]:
    """Return a line for every finished run that is not what the comparison asks for, as it has other settings.

    Settings that are left open, such as an engine "auto", count as they are.
    """
    found = []
    for folder, asked in _asked(record, out):
        if (run := Run(folder)).task is not None and run.finished and (other := _differing(run, asked)):
            more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
            found.append(f"{folder.relative_to(out)} has {', '.join(other[:_SHOWN])}{more}")
    return found


def _differing(run: Run, asked: Mapping[str, Any]) -> list[str]:
    there = flat(run.config)
    names = [name for name, value in asked.items() if value not in (None, "auto") and there.get(name, value) != value]
    return [f"{name} {there[name]}, not {asked[name]}" for name in names]


def _asked(record: Record, out: Path) -> Iterator[Asked]:
    for case in cases(record.config):
        for seed in record.config.seeds:
            search = _search(case, record, seed)
            yield case.folder(out, seed), {"task": "search"} | search
            if case.selector:
                yield case.found(out, seed), search | _selection(case, record)
    steps = {folder: words for job in jobs_of(record, out) for folder, words in job.steps if words[0] == "retrain"}
    for name, words in steps.items():
        yield out / name, _retraining((out / name).parent, words)


def _search(case: Case, record: Record, seed: int) -> dict[str, Any]:
    known = record.measured.get(case.search, {})
    config = replace(search_config(case, record.config), seed=seed)
    own = {name: value for name, value in flat(config.to_dict()).items() if name not in _OPEN}
    return own | {"epochs": known.get("epochs_given"), "fingerprint": known.get("fingerprint")}


def _selection(case: Case, record: Record) -> dict[str, Any]:
    preset, config = selection_config(case, record.config)
    return {"task": "select", "selector": preset.name} | flat({"select": plain(config)})


def _retraining(home: Path, words: Sequence[str]) -> dict[str, Any]:
    """Return what a retraining must have, typed as `words`, of the architecture in the folder that it lies in."""
    typed = dict(pairwise(words))
    own = flat(plain_values(RECIPES[typed["--recipe"]], Recipe, {}))
    own["validation_share"] = own["validation_share"] or None  # which the images decide on
    sizes = {name: int(typed[f"--{name}"]) for name in ("width", "depth") if f"--{name}" in typed}
    more = {"recipe": typed["--recipe"], "seed": int(typed["--seed"]), "architecture": _trained(home, words[1])}
    return {"task": "retrain"} | own | sizes | more


def _trained(home: Path, what: str) -> str | None:
    """Return the architecture that the run in a folder has found, None before that; `what` if it is none of a run."""
    run = Run(home)
    if run.task is None:
        return what
    return str(run.summary["architecture"]) if run.finished else None
