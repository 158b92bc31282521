"""What an epoch of a search costs, measured on a few of its steps in a process of its own, before the comparison.

`python -m supernet.searching.compare.measure` reads a list of searches as JSON, and writes a line for each.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from supernet import registry
from supernet.engine.peak_memory import peak_of_process
from supernet.errors import UserError
from supernet.searching.compare.config import budget_of
from supernet.searching.compare.killed import ending


def measured(searches: Mapping[str, Mapping[str, Any]], threads: int) -> dict[str, dict[str, Any]]:
    """Return for every search, given by the arguments of `configured`, what `measure` does, or an "error" in words.

    A process that is killed at one search leaves the others to the next process.
    """
    found: dict[str, dict[str, Any]] = {}
    while left := {name: search for name, search in searches.items() if name not in found}:
        command = [sys.executable, "-P", "-m", "supernet.searching.compare.measure"]
        given = json.dumps({"own": registry.OWN, "searches": list(left.values())})
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, text=True, check=False, start_new_session=True
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found |= dict(zip(left, lines, strict=False))
        if len(lines) < len(left):
            found[list(left)[len(lines)]] = {"error": ending(done.returncode, done.stderr)}
    return found


def measure(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return the passes, the seconds and the number of epochs of a search, its images, and this process's memory."""
    from supernet.searching.forecast import foresee
    from supernet.searching.plan import planned

    plan = planned(**search)
    forecast = foresee(plan)
    if math.isnan(forecast.step_seconds):
        raise UserError("memory has run out: take a smaller --batch-size or --width, or --checkpointing")
    return {
        "passes": forecast.steps * forecast.step_passes,
        "seconds": forecast.epoch_seconds,
        "epochs": forecast.epochs,
        "tuning": forecast.tuning,
        "data_name": plan.images.name,
        "classes": plan.network_size.classes,
        "bytes": peak_of_process() or 0,
    }


def epochs_within(budget: str, found: Mapping[str, Any]) -> int:
    """Return the most epochs of a search, its selector's training included, within a budget; raises UserError.

    The cost is that of the last epochs: a method that does less in its first ones stays below the budget.
    """
    unit, amount = budget_of(budget)
    if unit == "epochs" or amount is None:
        return int(found["epochs"])
    epochs = math.floor(amount / found[unit] * (1 + 1e-9)) - found["tuning"]
    if epochs < 1:
        least = found[unit] * (1 + found["tuning"])
        tuning = f" and the {found['tuning']} of its selector" if found["tuning"] else ""
        raise UserError(f"a budget of {amount:g} {unit} is less than one epoch{tuning}, which takes {least:.4g}")
    return int(epochs)


def resolved(budget: str, first: Mapping[str, Any]) -> str:
    """Return a budget with its number: that of the `first` search, where none is given."""
    if budget != "passes":
        return budget
    if "error" in first:
        raise UserError(f"the first method sets the budget, and cannot be had: {first['error']}")
    return f"passes={first['passes'] * (first['epochs'] + first['tuning']):g}"


def main() -> None:
    """Measure the searches of stdin."""
    given = json.load(sys.stdin)
    registry.import_again(map(tuple, given["own"]))
    for search in given["searches"]:
        try:
            found = measure(search)
        except UserError as error:
            found = {"error": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
