"""What has run of a comparison, what runs and what is left: read from its files alone, also while it runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from supernet.engine.files import read_json
from supernet.engine.lock import running as runner
from supernet.report.text import duration
from supernet.searching.compare.commands import Job
from supernet.searching.compare.worker import is_within, why

State = Literal["finished", "running", "failed", "left"]


@dataclass(frozen=True)
class JobState:
    """How far a job has come: of its steps one is `doing`, and `done` of its `total` epochs are finished.

    `seconds` are those that its finished steps have taken.
    """

    job: Job
    state: State
    doing: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    reason: str = ""


def state_of(job: Job, out: Path, failed: Mapping[str, Mapping[str, str]]) -> JobState:
    """Return how far a job has come; one has failed where all that it lacks has failed, or lies in what has."""
    summaries = {folder: out / folder / "summary.json" for folder, _ in job.steps}
    finished = {folder for folder, summary in summaries.items() if summary.exists()}
    seconds = sum((_seconds(summaries[folder]) for folder, _ in job.steps if folder in finished), 0.0)
    lacking = [step for step in job.steps if step[0] not in finished]
    if not lacking:
        return JobState(job, "finished", seconds=seconds)
    reasons = failed.get(job.name, {})
    to_do = [step for step in lacking if not is_within(step[0], reasons)]
    folder, words = (to_do or lacking)[0]
    done, total = _rows(out / folder / "metrics.jsonl"), _epochs(words)
    if not to_do:
        return JobState(job, "failed", words[0], done, total, seconds, why(job, reasons))
    running = runner(out / folder) is not None
    return JobState(job, "running" if running else "left", words[0], done, total, seconds)


def left_of(states: Iterable[JobState]) -> list[Job]:
    """Return the jobs that are still to run."""
    return [state.job for state in states if state.state in ("left", "running")]


def _seconds(summary: Path) -> float:
    try:
        return float(read_json(summary)["seconds"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def _rows(metrics: Path) -> int:
    try:
        return metrics.read_bytes().count(b"\n")
    except OSError:
        return 0


def _epochs(words: Sequence[str]) -> int:
    """Return the epochs of a search, 0 where the command leaves them to a selector or a recipe."""
    return int(words[words.index("--epochs") + 1]) if "--epochs" in words else 0


def seconds_left(states: Iterable[JobState], measured: Mapping[str, Mapping[str, Any]], workers: int) -> float | None:
    """Return the seconds until all jobs are done: each takes as long as its like have taken, or as was measured.

    None where nothing is known yet of a job that is left.
    """
    known: dict[str, list[float]] = {}
    states = list(states)
    for state in states:
        if state.state == "finished":
            known.setdefault(state.job.case, []).append(state.seconds)
    left, longest = 0.0, 0.0
    for state in states:
        if state.state not in ("running", "left"):
            continue
        found = measured.get(state.job.case, {})
        if state.job.case in known:
            whole = statistics.fmean(known[state.job.case])
        elif "seconds" in found and state.total:
            whole = float(found["seconds"]) * state.total
        elif known:
            whole = statistics.fmean([value for values in known.values() for value in values])
        else:
            return None
        share = state.done / state.total if state.total and state.doing == "search" else 0.0
        mine = whole * (1 - min(share, 1.0))
        left, longest = left + mine, max(longest, mine)
    return max(left / max(workers, 1), longest)


def lines(states: Sequence[JobState], left: float | None) -> list[str]:
    """Return the status as lines of text: the numbers, what runs, and what has failed and why."""
    count = {name: sum(state.state == name for state in states) for name in ("finished", "running", "left", "failed")}
    told = [", ".join(f"{number} {name}" for name, number in count.items()) + f", of {len(states)}"]
    if left and (count["running"] or count["left"]):
        told[0] += f"; about {duration(left)} left"
    told += [f"running  {state.job.name}: {doing(state)}" for state in states if state.state == "running"]
    told += [f"failed   {state.job.name}: {state.reason}" for state in states if state.state == "failed"]
    if count["failed"]:
        told.append("the same command with --retry-failed tries what has failed again")
    return told


def doing(state: JobState) -> str:
    """Return what a running job does, as text."""
    if state.total:
        return f"{state.doing}, {state.done} of {state.total} epochs"
    return f"{state.doing}, {state.done} epochs"
