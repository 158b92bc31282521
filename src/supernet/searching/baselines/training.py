"""Baselines from what is asked for to the table: what is left of all networks trained, seed by seed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from supernet.engine.driving import Driving
from supernet.engine.files import path_given, remove_temporaries, write_atomically
from supernet.engine.folder import flat, is_left
from supernet.engine.lock import locked
from supernet.engine.records import read_checked
from supernet.engine.run import Run
from supernet.errors import UserError, reason_of, whole
from supernet.report.console import Console, line
from supernet.searching.baselines import page, table
from supernet.searching.baselines.rivals import Rival
from supernet.searching.baselines.rows import trained
from supernet.searching.baselines.run import ADDED, Asked, Trainings
from supernet.searching.baselines.table import Baselines
from supernet.searching.baselines.workers import at_once
from supernet.settings import Count, Seed

FILE = "baseline.json"


def start(asked: Asked, how: Driving, workers: int = 1) -> Baselines:
    """Train what is left of all networks, seed by seed, write the table and its page, and return the table.

    The networks and seeds that the folder has before are among them. The user is told of each network that has been
    trained, and of what cannot be had. Raises UserError.
    """
    whole("workers", workers)
    out, console = asked.folder if how.out is None else path_given(how.out, "out takes the path of a folder"), Console()
    asked = _joined(out, asked)
    trainings = Trainings(out, asked)
    pairs = [(rival, seed) for seed in asked.seeds for rival in trainings.rivals]
    runs: dict[str, dict[int, Run]] = {rival.label: {} for rival in trainings.rivals}

    def say(text: str) -> None:
        if not how.quiet:
            line(console, text)

    def ended(rival: Rival, seed: int, run: Run) -> None:
        runs[rival.label][seed] = run
        count = f"{sum(map(len, runs.values()))} of {len(pairs)}"
        say(f"{rival.label}, seed {seed}: {trained(run).accuracy:.2f} % ({count})")

    for text in trainings.told:
        say(text)
    with locked(out):
        remove_temporaries(out)
        write_atomically(out / FILE, (json.dumps(asked.record, indent=2) + "\n").encode())
        try:
            if workers > 1:
                at_once(trainings, pairs, how, workers, say, ended)
            else:
                for rival, seed in pairs:
                    ended(rival, seed, trainings.train(rival, seed, how))
        finally:  # also of what is done where the user stops it, or a training has failed
            if runs[trainings.rivals[0].label]:
                found = table.write(trainings, runs)
                page.write(found)
    return found


def opened(path: str | os.PathLike[str]) -> Baselines | None:
    """Return the baselines in a folder, None if there are none; raises UserError if they cannot be read."""
    return table.read(Path(path)) if (Path(path) / FILE).exists() else None


class _Recorded(TypedDict):
    """What the file of baselines has, see `Asked.record`."""

    fingerprint: str
    recipe: str
    epochs: NotRequired[Count]  # an earlier version let trainings go on for more
    architecture: str | None
    budget: dict[str, Count]
    networks: NotRequired[list[str]]
    seeds: NotRequired[list[Seed]]


def _joined(out: Path, asked: Asked) -> Asked:
    """Make the folder, and return what is asked for with the networks and seeds that are there.

    Raises UserError if the folder holds anything else, or baselines of another record.
    """
    file = out / FILE
    try:
        if out.exists() and not file.exists() and not all(map(is_left, out.iterdir())):
            raise UserError(f"'{out}' exists and holds no baselines: give another place with --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write '{out}': {reason_of(error)}; give another place with --out") from None
    now = flat(asked.record)
    there = flat(read_checked(_Recorded, file, "give another place with --out")) if file.exists() else now
    if "epochs" not in there:
        there["epochs"] = min((run.config["epochs"] for run in Run(out).inside), default=now["epochs"])
    changed = [name for name in there | now if name not in ADDED and there.get(name) != now.get(name)]
    if changed:
        names = ", ".join(f"{name} ({there.get(name)} there, {now.get(name)} now)" for name in changed)
        raise UserError(f"the baselines in '{out}' are of another {names}: give another place with --out")
    networks, seeds = (dict.fromkeys([*there.get(name, ()), *now[name]]) for name in ADDED)
    return replace(asked, networks=tuple(networks), seeds=tuple(sorted(seeds)))
