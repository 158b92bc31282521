"""One job of a comparison carried out: its commands one after another, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import Event

from supernet.engine.files import read_json, write_atomically
from supernet.engine.lock import is_locked
from supernet.searching.compare.commands import Job
from supernet.searching.compare.killed import ending, memory_kills, was_killed

RESTARTS = 2  # of a command that was killed
_PAUSE = 0.5  # seconds between two looks
_FAILED, _LOGS = "failed", "logs"
_GROUP = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # of processes that a run is not one of


class Stopped(Exception):  # noqa: N818  not a mistake
    """The comparison has been stopped."""


def carry_out(
    job: Job, out: Path, environment: Mapping[str, str], stop: Event, say: Callable[[str], None] = lambda line: None
) -> str:
    """Carry out what is left of a job; return why it has failed, nothing if it has not.

    A command that is killed is started again, at most twice: it goes on from its last checkpoint. One that fails, or is
    noted as failed, takes with it those whose folders are in its own, and no other. Another comparison that was killed
    may have left a process in a run folder, which is waited for. Raises Stopped once `stop` is set, and the command has
    saved its run.
    """
    failed = failures(out).get(job.name, {})
    for folder, words in job.steps:
        if is_within(folder, failed):
            continue
        for attempt in range(RESTARTS + 1):
            while is_locked(out / folder):
                if stop.wait(_PAUSE):
                    raise Stopped
            if _finished(out, folder):
                break
            kills = memory_kills()
            status, errors = _run(words, out / _LOGS / f"{job.name}.txt", environment, stop)
            if status == 0:
                break
            reason = ending(status, errors, memory_kills() - kills)
            if not was_killed(status) or attempt == RESTARTS:
                failed[folder] = reason
                break
            say(f"{job.name} was {reason}; started again ({attempt + 1} of {RESTARTS})")
    if failed:
        _write(out, job, failed)
    return why(job, failed)


def is_within(folder: str, failed: Collection[str]) -> bool:
    """Return whether a folder is one of those that have failed, or lies in one."""
    return any(folder == other or folder.startswith(f"{other}/") for other in failed)


def why(job: Job, failed: Mapping[str, str]) -> str:
    """Return why folders of a job have failed, as text."""
    return "; ".join(reason if folder == job.name else f"{folder}: {reason}" for folder, reason in failed.items())


def _run(words: tuple[str, ...], log: Path, environment: Mapping[str, str], stop: Event) -> tuple[int, str]:
    """Run a command; return its exit status and what it has written to stderr."""
    log.parent.mkdir(exist_ok=True)
    with log.open("w+", encoding="utf-8", errors="replace") as errors:
        command = [sys.executable, "-m", "supernet", *words]
        # In a session of its own, so that Ctrl-C in the terminal reaches it once, through this process
        process = subprocess.Popen(
            command,
            env={name: value for name, value in os.environ.items() if name not in _GROUP} | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            while process.poll() is None and not stop.is_set():
                time.sleep(_PAUSE / 10)
        finally:  # also of the KeyboardInterrupt by which Ray ends a task
            stopped = process.poll() is None
            if stopped:
                process.terminate()
                process.wait()
        if stopped:
            raise Stopped
        errors.seek(0)
        return process.returncode, errors.read()


def failures(out: Path) -> dict[str, dict[str, str]]:
    """Return why folders of jobs have failed, by the names of the jobs and the folders."""
    found = {}
    for file in (out / _FAILED).glob("*.json"):
        try:
            record = read_json(file)
            job, failed = str(record["job"]), {str(folder): str(reason) for folder, reason in record["failed"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):  # a damaged note: the job is tried again
            continue
        found[job] = {folder: failed[folder] for folder in failed if not _finished(out, folder)}
    return found


def forget_failures(out: Path) -> None:
    """Let all jobs that have failed be tried again."""
    for file in (out / _FAILED).glob("*.json"):
        file.unlink(missing_ok=True)


def note(out: Path, job: Job, reason: str) -> None:
    """Note why all that is left of a job has failed."""
    left = [folder for folder, _ in job.steps if not _finished(out, folder)]
    tops = [folder for folder in left if not is_within(folder, [other for other in left if other != folder])]
    _write(out, job, dict.fromkeys(tops, reason))


def _finished(out: Path, folder: str) -> bool:
    return (out / folder / "summary.json").exists()


def _write(out: Path, job: Job, failed: Mapping[str, str]) -> None:
    (out / _FAILED).mkdir(exist_ok=True)
    write_atomically(out / _FAILED / f"{job.name}.json", json.dumps({"job": job.name, "failed": failed}).encode())
