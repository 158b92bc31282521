"""What a comparison is going to run: its kinds of search measured, the budget shared out among them, images checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from supernet.data.limits import cores
from supernet.errors import UserError
from supernet.report.text import number
from supernet.searching.compare.cases import arguments, cases
from supernet.searching.compare.comparison import Comparison
from supernet.searching.compare.config import Record, budget_of
from supernet.searching.compare.display import Display
from supernet.searching.compare.executor import given_threads, gpus_for, threads_each
from supernet.searching.compare.measure import epochs_within, measured, resolved
from supernet.searching.compare.status import left_of
from supernet.searching.compare.worker import note

Measured = dict[str, dict[str, Any]]
"""What an epoch of each kind of search costs, by its name, see `supernet.searching.compare.measure`."""


def planned(
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
        record, found = _measured(new, record, len(left_of(Comparison(folder, record).states)), environment, workers)
        known |= found
    config = replace(config, budget=resolved(config.budget, known[next(iter(kinds))]))
    _share_out(config.budget, known)
    for name in new:
        if "epochs_given" in known[name]:
            display.say(f"{name}: {_given(known[name])}", important=False)
    seen = next((entry for entry in known.values() if "data_name" in entry), asdict(record))
    record = replace(record, config=config, measured=known, data_name=seen["data_name"], classes=seen["classes"])
    return Comparison(folder, record)


def begin(comparison: Comparison) -> None:
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
        gpus = gpus_for(record.config.device)
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


def check_images(comparison: Comparison, environment: Mapping[str, str]) -> None:
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
