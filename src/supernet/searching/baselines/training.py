"""`supernet baseline`: what is left of all networks trained, seed by seed, and put into a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from supernet.engine.driving import Driving
from supernet.engine.files import read_json, remove_temporaries, write_atomically
from supernet.engine.folder import flat
from supernet.engine.lock import locked
from supernet.engine.run import Run
from supernet.errors import UserError, reason_of
from supernet.searching.baselines import table
from supernet.searching.baselines.run import Asked, Baselines

FILE = "baseline.json"


def start(asked: Asked, out: Path, how: Driving, say: Callable[[str], None]) -> str:
    """Train what is left of all networks, seed by seed, write the table, and return it as Markdown.

    `say` is told of each network that has been trained, and of what cannot be had. Raises UserError.
    """
    baselines = Baselines(out, asked)
    rivals = baselines.rivals
    for text in baselines.told:
        say(text)
    _enter(out, asked)
    with locked(out):
        remove_temporaries(out)
        write_atomically(out / FILE, (json.dumps(asked.record, indent=2) + "\n").encode())
        runs: dict[str, dict[int, Run]] = {rival.label: {} for rival in rivals}
        pairs = [(rival, seed) for seed in asked.seeds for rival in rivals]
        for number, (rival, seed) in enumerate(pairs, 1):
            run = runs[rival.label][seed] = baselines.train(rival, seed, how)
            say(f"{rival.label}, seed {seed}: {table.accuracy(run):.2f} % ({number} of {len(pairs)})")
        return table.write(baselines, runs)


def _enter(out: Path, asked: Asked) -> None:
    """Make the folder; raises UserError if it holds anything else, or baselines of other images, recipe or cost."""
    file = out / FILE
    try:
        if out.exists() and not file.exists() and any(out.iterdir()):
            raise UserError(f"'{out}' exists and holds no baselines: give another place with --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write '{out}': {reason_of(error)}; give another place with --out") from None
    now = flat(asked.record)
    try:
        there = flat(read_json(file)) if file.exists() else now
    except (ValueError, AttributeError):
        raise UserError(f"'{file}' is damaged: remove it, and the same command goes on") from None
    changed = [name for name in there | now if there.get(name) != now.get(name)]
    if changed:
        names = ", ".join(f"{name} ({there.get(name)} there, {now.get(name)} now)" for name in changed)
        raise UserError(f"the baselines in '{out}' are of another {names}: give another place with --out")
