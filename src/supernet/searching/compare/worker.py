"""One job of a comparison carried out: its commands one after another, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
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

    A command that is killed is started again, at most twice: it goes on from its last checkpoint. One that fails takes
    with it those whose folders are in its own, and no other. Another comparison that was killed may have left a process
    in a run folder, which is waited for. Raises Stopped once `stop` is set, and the command has saved its run.
    """
    failed: dict[str, str] = {}
    for folder, words in job.steps:
        if any(folder.startswith(f"{other}/") for other in failed):
            continue
        for attempt in range(RESTARTS + 1):
            while is_locked(out / folder):
                if stop.wait(_PAUSE):
                    raise Stopped
            if (out / folder / "summary.json").exists():
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
    if not failed:
        return ""
    told = "; ".join(reason if folder == job.name else f"{folder}: {reason}" for folder, reason in failed.items())
    note(out, job, told)
    return told


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


def failures(out: Path) -> dict[str, str]:
    """Return why jobs have failed, by their names."""
    found = {}
    for file in (out / _FAILED).glob("*.json"):
        try:
            record = read_json(file)
            found[str(record["job"])] = str(record["reason"])
        except (ValueError, KeyError, TypeError):  # a damaged note: the job is tried again
            continue
    return found


def forget_failures(out: Path) -> None:
    """Let all jobs that have failed be tried again."""
    for file in (out / _FAILED).glob("*.json"):
        file.unlink(missing_ok=True)


def note(out: Path, job: Job, reason: str) -> None:
    """Note why a job has failed."""
    (out / _FAILED).mkdir(exist_ok=True)
    write_atomically(out / _FAILED / f"{job.name}.json", json.dumps({"job": job.name, "reason": reason}).encode())
