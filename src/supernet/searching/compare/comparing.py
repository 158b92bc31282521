"""`supernet.compare`: the runs of a comparison planned, carried out and put into a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from supernet.data.limits import cores
from supernet.engine.defaults import plain_torch
from supernet.engine.files import folder_given, remove_temporaries, writing
from supernet.engine.folder import check_free, default_folder, flat
from supernet.engine.lock import locked
from supernet.engine.signals import heard, raised
from supernet.errors import UserError, names_given, shown, unknown, whole
from supernet.report.text import number
from supernet.searching.compare import config as configs
from supernet.searching.compare import table
from supernet.searching.compare.cases import arguments, cases
from supernet.searching.compare.cluster import OnRay
from supernet.searching.compare.commands import Job
from supernet.searching.compare.comparison import Comparison
from supernet.searching.compare.config import ComparisonConfig, Record, Seeds, budget_of
from supernet.searching.compare.display import Display
from supernet.searching.compare.executor import (
    IMAGES,
    Local,
    carried_out,
    fitting,
    given_threads,
    gpus_for,
    shared_out,
    sharing_images,
    threads_each,
)
from supernet.searching.compare.joining import united
from supernet.searching.compare.measure import epochs_within, measured, resolved
from supernet.searching.compare.own import foreign
from supernet.searching.compare.status import JobState, seconds_left
from supernet.searching.compare.worker import forget_failures, note
from supernet.settings import amend

PLACES = ("local", "ray")
_SIZES = ("bytes", "shared_bytes")

Measured = dict[str, dict[str, Any]]
"""What an epoch of each kind of search costs, by its name, see `supernet.searching.compare.measure`."""


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
                _check_images(Comparison(folder, record), environment)
                comparison = _planned(folder, record, environment, display, workers, retry=retry_failed)
                if others := foreign(comparison.record, folder):
                    raise UserError(f"in '{folder}', {others[0]}: remove that run, or give another place with --out")
                _begin(comparison)
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


def _planned(
    folder: Path, record: Record, environment: Mapping[str, str], display: Display, workers: int | None, *, retry: bool
) -> Comparison:
    """Return the comparison with the kinds of search that are new measured and the budget shared out.

    Nothing is written: a comparison that is refused stays as it was.
    """
    config = record.config
    known = {name: entry for name, entry in record.measured.items() if not (retry and "error" in entry)}
    kinds = {case.search: case for case in cases(config)}
    new = {name: arguments(case, config) for name, case in kinds.items() if name not in known}
    if new:
        display.say(f"measuring an epoch of {number(len(new), 'kind')} of search", important=False)
        record, found = _measured(new, record, len(_left(Comparison(folder, record).states)), environment, workers)
        known |= found
    config = replace(config, budget=resolved(config.budget, known[next(iter(kinds))]))
    _share_out(config.budget, known)
    for name in new:
        if "epochs_given" in known[name]:
            display.say(f"{name}: {_given(known[name])}", important=False)
    seen = next((entry for entry in known.values() if "data_name" in entry), asdict(record))
    record = replace(record, config=config, measured=known, data_name=seen["data_name"], classes=seen["classes"])
    return Comparison(folder, record)


def _begin(comparison: Comparison) -> None:
    """Write the file of a comparison, and note the searches that cannot be had."""
    comparison.record.write(comparison.path)
    for job in comparison.jobs:
        found = comparison.record.measured.get(job.case, {})
        if "error" in found:
            note(comparison.path, job, found["error"])


def _measured(
    new: Mapping[str, Mapping[str, Any]],
    record: Record,
    left: int,
    environment: Mapping[str, str],
    workers: int | None,
) -> tuple[Record, Measured]:
    """Return the record, and what an epoch of each new kind of search costs, by its name; `left` jobs are to run.

    A budget of seconds is measured with as many threads as the runs will have, which the record then keeps.
    """
    threads = given_threads() or cores()
    if budget_of(record.config.budget)[0] == "seconds":
        gpus = gpus_for(_device(record.config))
        threads = threads_each(workers, max(left, 1), 0 if gpus else record.threads, len(gpus))
        record = replace(record, threads=threads)
    one_thread = threads > 1 and not (given_threads() or workers or record.threads)
    return record, measured(new, {**environment, "OMP_NUM_THREADS": str(threads)}, one_thread=one_thread)


def _share_out(budget: str, known: Measured) -> None:
    """Note the epochs that the budget gives to each kind of search, or why it gives none."""
    for entry in known.values():
        if "error" in entry or "epochs_given" in entry:
            continue
        try:
            entry["epochs_given"] = epochs_within(budget, entry)
        except UserError as error:
            entry["error"] = str(error)


def _given(entry: Mapping[str, Any]) -> str:
    """Return what the budget gives to a kind of search, in words."""
    epochs = entry["epochs_given"]
    more = f", and beyond the budget {entry['left_out']}" if entry["left_out"] else ""
    most = "at most " if entry["at_most"] else ""
    return f"epochs {epochs}, {most}{entry['passes'] * epochs:.0f} passes{more}"


def _check_images(comparison: Comparison, environment: Mapping[str, str]) -> None:
    """Raise UserError if more is to run, and the images are others than when a kind of search was measured.

    They are read by a process of its own, which leaves them for what is measured and for the runs.
    """
    config, known = comparison.record.config, comparison.record.measured
    kind = next((case for case in cases(config) if "fingerprint" in known.get(case.search, {})), None)
    if kind is None or all(state.state == "finished" for state in comparison.states):
        return
    before = known[kind.search]["fingerprint"]
    now = measured({kind.search: arguments(kind, config)}, environment, only_images=True)[kind.search]
    if now.get("fingerprint", before) != before:
        raise UserError(
            f"'{config.data}' holds other images than when comparison '{comparison.path}' began: "
            "give another place with --out"
        )


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
    left = _left(states)
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


def _left(states: Iterable[JobState]) -> list[Job]:
    return [state.job for state in states if state.state in ("left", "running")]


def _device(config: ComparisonConfig) -> str:
    return str(config.settings.get("device", "auto"))


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
    device = _device(comparison.record.config)
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
