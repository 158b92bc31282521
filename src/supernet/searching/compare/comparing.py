"""`supernet.compare`: the runs of a comparison planned, carried out and put into a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from supernet.engine.defaults import plain_torch
from supernet.engine.files import folder_given, remove_temporaries, writing
from supernet.engine.folder import check_free, default_folder, flat
from supernet.engine.lock import locked
from supernet.engine.signals import heard, raised
from supernet.errors import UserError, names_given, shown, unknown, whole
from supernet.report.text import number
from supernet.searching.compare import config as configs
from supernet.searching.compare import table
from supernet.searching.compare.cases import cases
from supernet.searching.compare.cluster import OnRay
from supernet.searching.compare.comparison import Comparison
from supernet.searching.compare.config import ComparisonConfig, Record, Seeds
from supernet.searching.compare.display import Display
from supernet.searching.compare.executor import (
    IMAGES,
    Local,
    carried_out,
    fitting,
    gpus_for,
    shared_out,
    sharing_images,
)
from supernet.searching.compare.joining import united
from supernet.searching.compare.own import foreign
from supernet.searching.compare.planning import begin, check_images, planned
from supernet.searching.compare.status import left_of, seconds_left
from supernet.searching.compare.worker import forget_failures
from supernet.settings import amend

PLACES = ("local", "ray")
_SIZES = ("bytes", "shared_bytes")


@plain_torch()
def compare(
    data: str = "digits",
    *,
    methods: str | Iterable[str] = ("single-darts", "darts"),
    seeds: Seeds = (0, 1, 2),
    axes: Mapping[str, Sequence[Any]] | None = None,
    out: str | os.PathLike[str] | None = None,
    budget: str = "passes",
    baseline: str | None = None,
    retrain: str | None = None,
    retrainings: int = 1,
    workers: int | None = None,
    on: str = "local",
    retry_failed: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Comparison:
    """Run all searches of a comparison that are not there yet, each in a process of its own, and return it.

    - `data`: the images, as a path, which the first process reads for all.
    - `methods`: names, or text as "darts,pc-darts"; "darts+perturbation" selects by another selector from the searches
      of darts. Random search is always in.
    - `seeds`: numbers, or text as "0-4".
    - `axes`: settings with the values that each takes, by dotted names: {"alpha.lr": [0.001, 0.005]}. A setting or an
      axis applies to the methods that have it.
    - `out`: the folder, where the same call goes on; None makes a name.
    - `budget`: what each search may cost, see `docs/compare.md`.
    - `baseline`: the row that the others are compared with; None is the first.
    - `retrain`, `retrainings`: the recipe by which what was found is trained, and how often.
    - `workers`: runs at a time; None is as many as fit.
    - `on`: "local", this machine, or "ray", the Ray cluster that runs; see `docs/compare.md`.
    - `retry_failed`: try what has failed again.
    - `settings`: settings of all searches, nested ones by dotted names or as mappings.

    Raises UserError for a setting that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a folder in which the
    same call goes on.
    """
    if not isinstance(data, str | os.PathLike):
        raise UserError(f"a comparison reads its images from a path, as its runs are processes of their own: {data!r}")
    if axes is not None and not isinstance(axes, Mapping):
        raise UserError(
            f"axes takes a mapping of settings to their values, as {{'alpha.lr': [0.001, 0.005]}}, not {axes!r}"
        )
    given = amend(
        ComparisonConfig(),
        {
            "data": os.fspath(data),
            "methods": names_given("methods", methods),
            "seeds": configs.seeds_of(seeds),
            "axes": {name: _listed(values) for name, values in (axes or {}).items()},
            "settings": {name: _listed(value) for name, value in flat(settings).items()},
            "budget": budget,
            "baseline": baseline,
            "retrain": retrain,
            "retrainings": retrainings,
        },
    )
    configs.import_named(given.methods, given.settings, given.axes)
    return start(given, out, workers=workers, on=on, retry_failed=retry_failed, quiet=quiet)


def _listed(value: Any) -> Any:
    """Return a row of values as a list, which the file of a comparison gives back, and any other value as it is."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def start(
    given: ComparisonConfig,
    out: str | os.PathLike[str] | None = None,
    *,
    workers: int | None = None,
    on: str = "local",
    retry_failed: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Run what is left of a comparison, with what its folder holds already, and return it; raises UserError."""
    if on not in PLACES:
        raise unknown("place", on, PLACES)
    if workers is not None:
        whole("workers", workers)
    folder = Path("comparisons") / default_folder(Path(given.data).stem).name if out is None else folder_given(out)
    there = configs.load(folder)
    if there is None:
        _check_once(given)
    else:
        configs.check_published(there.config, given)
    config = given if there is None else united(there.config, given, folder)
    if config.retrain is None and config.retrainings > (1 if there is None else there.config.retrainings):
        raise UserError("--retrainings needs a recipe: give --retrain, too, as --retrain quick")
    cases(config)
    with writing(folder):
        if there is None:
            check_free(folder, "is no comparison", left=IMAGES)
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), Display(quiet=quiet) as display:
        remove_temporaries(folder)
        if retry_failed:
            forget_failures(folder)
        record = replace(there or Record(config), config=config)
        with sharing_images(folder, on) as environment:
            with raised():  # before its first run there is nothing to save
                check_images(Comparison(folder, record), environment)
                comparison = planned(folder, record, environment, display, workers, retry=retry_failed)
                if others := foreign(comparison.record, folder):
                    raise UserError(f"in '{folder}', {others[0]}: remove that run, or give another place with --out")
                begin(comparison)
            with heard() as signals:
                try:
                    comparison = _run(comparison, environment, workers, on, display, signals)
                finally:  # also of what is done where the user stops it
                    table.write(comparison.record, comparison.rows, folder)
                    comparison.report()
    return comparison


def _check_once(config: ComparisonConfig) -> None:
    """Raise UserError for a setting that is an axis as well, which it would not change, and for a value given twice."""
    for name, values in config.axes.items():
        if name in config.settings:
            raise UserError(f"'{name}' is an axis and a setting: give it as one of them")
        if twice := [value for number, value in enumerate(values) if value in values[:number]]:
            raise UserError(f"axis '{name}' has the value {shown(twice[0])} twice: give each value once")


def _run(
    comparison: Comparison,
    environment: Mapping[str, str],
    workers: int | None,
    on: str,
    display: Display,
    signals: list[int],
) -> Comparison:
    """Run all jobs that are left, and return the comparison with their threads noted; raises Interrupted."""
    states = comparison.states
    left = left_of(states)
    for state in states:
        if state.state == "failed":
            display.ended(state, states, None)
    if not left:
        return comparison
    comparison, executor = _executor(comparison, len(left), environment, workers, on, display)
    display.say(f"{number(len(left), 'run')} on {executor.where}", important=False)
    try:
        for done in carried_out(executor.submit, left, signals):
            if done or display.live:
                _show(comparison, done, executor.workers, display)
    finally:
        executor.stop()
    return comparison


def _executor(
    comparison: Comparison,
    left: int,
    environment: Mapping[str, str],
    workers: int | None,
    on: str,
    display: Display,
) -> tuple[Comparison, Local | OnRay]:
    """Return the comparison with the threads of its runs noted, and what runs them; `left` is how many there are."""
    known = comparison.record.measured.values()
    largest_process, shared = (max((entry.get(name, 0) for entry in known), default=0) for name in _SIZES)
    device = comparison.record.config.device
    if on == "ray":  # there every process holds its images itself
        whole = max((sum(entry.get(name, 0) for name in _SIZES) for entry in known), default=0)
        return comparison, OnRay(comparison.path, left, workers, device, whole, display.say)
    gpus = gpus_for(device)
    most = fitting(workers, left, gpus, largest_process, shared)
    timed = next((entry for entry in known if "seconds_of_one_thread" in entry and not gpus), None)
    share = shared_out(workers, left, most, 0 if gpus else comparison.record.threads, timed)
    if not gpus and share.threads != comparison.record.threads:
        comparison = replace(comparison, record=replace(comparison.record, threads=share.threads))
        comparison.record.write(comparison.path)
    return comparison, Local(comparison.path, share, gpus, environment, display.say)


def _show(comparison: Comparison, done: Iterable[str], workers: int, display: Display) -> None:
    """Show how far all runs have come, and those that are `done` now."""
    states = comparison.states
    rest = seconds_left(states, comparison.record.measured, workers)
    by_name = {state.job.name: state for state in states}
    for name in done:
        display.ended(by_name[name], states, rest)
    display.update(states, rest)
