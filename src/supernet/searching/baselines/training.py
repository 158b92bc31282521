"""Baselines from what is asked for to the table: what is left of all networks trained, seed by seed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from supernet.engine.driving import Driving
from supernet.engine.files import folder_given, remove_temporaries, write_atomically, writing
from supernet.engine.folder import check_free, flat
from supernet.engine.lock import locked
from supernet.engine.records import read_checked
from supernet.engine.run import Run
from supernet.errors import UserError, whole
from supernet.report.console import Console, line
from supernet.searching.baselines import page, table
from supernet.searching.baselines.earlier import earlier, with_earlier
from supernet.searching.baselines.rivals import Rival
from supernet.searching.baselines.rows import trained
from supernet.searching.baselines.run import Asked, Trainings
from supernet.searching.baselines.table import Baselines
from supernet.searching.baselines.workers import at_once
from supernet.settings import Count

FILE = "baseline.json"


def start(asked: Asked, how: Driving, workers: int = 1) -> Baselines:
    """Train what is left of the networks, seed by seed, write the table and its page, and return the table.

    What an earlier command has trained in the folder is in the table, too. The user is told of each network that has
    been trained, and of what cannot be had. Raises UserError.
    """
    whole("workers", workers)
    out, console = asked.folder if how.out is None else folder_given(how.out), Console()
    wanted = Trainings(out, asked)
    own = [rival.folder for rival in wanted.rivals]

    def say(text: str) -> None:
        if not how.quiet:
            line(console, text)

    for text in [*asked.plan.idle, *wanted.told]:
        say(text)
    _enter(out, asked)
    with locked(out):
        remove_temporaries(out)
        write_atomically(out / FILE, (json.dumps(asked.record, indent=2) + "\n").encode())
        trainings = with_earlier(wanted)
        pairs = [(rival, seed) for seed in asked.seeds for rival in trainings.rivals if rival.folder in own]
        runs = earlier(trainings, pairs, force=how.force)  # before anything is trained
        count = len(pairs) + sum(map(len, runs.values()))

        def ended(rival: Rival, seed: int, run: Run) -> None:
            runs[rival.label][seed] = run
            done = f"{sum(map(len, runs.values()))} of {count}"
            say(f"{rival.label}, seed {seed}: {trained(run).accuracy:.2f} % ({done})")

        try:
            if workers > 1:
                at_once(trainings, pairs, how, workers, say, ended)
            else:
                for rival, seed in pairs:
                    ended(rival, seed, trainings.train(rival, seed, how))
        finally:  # also of what is done where the user stops it, or a training has failed
            if runs[pairs[0][0].label]:
                found = table.write(trainings, runs, count)
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


def _enter(out: Path, asked: Asked) -> None:
    """Make the folder; raises UserError if it holds anything else, or baselines of another record."""
    file = out / FILE
    with writing(out):
        if not file.exists():
            check_free(out, "holds no baselines")
        out.mkdir(parents=True, exist_ok=True)
    now = flat(asked.record)
    there = flat(read_checked(_Recorded, file, "give another place with --out")) if file.exists() else now
    if "epochs" not in there:
        there["epochs"] = min((run.config["epochs"] for run in Run(out).inside), default=now["epochs"])
    changed = [name for name in there | now if there.get(name) != now.get(name)]
    if changed:
        names = ", ".join(f"{name} ({there.get(name)} there, {now.get(name)} now)" for name in changed)
        raise UserError(f"the baselines in '{out}' are of another {names}: give another place with --out")
