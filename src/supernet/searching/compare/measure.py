"""What an epoch of a search costs, measured on a few of its steps in a process of its own, before the comparison.

`python -m supernet.searching.compare.measure` reads a list of searches as JSON, and writes a line for each.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor

from supernet import registry
from supernet.data.prepared import VARIABLE
from supernet.engine.peak_memory import peak_of_process, shareable_of_process
from supernet.errors import UserError
from supernet.searching.compare.config import budget_of
from supernet.searching.compare.killed import ending


def measured(
    searches: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    *,
    one_thread: bool = False,
    only_images: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return for every search, given by the arguments of `configured`, what `measure` does, or an "error" in words.

    `environment` has more variables of the processes; with `one_thread` the first search is timed with one thread,
    too; with `only_images` nothing is timed, and the fingerprint of the images alone is returned. A process that is
    killed at one search leaves the others to the next process.
    """
    found: dict[str, dict[str, Any]] = {}
    while left := {name: search for name, search in searches.items() if name not in found}:
        command = [sys.executable, "-P", "-m", "supernet.searching.compare.measure"]
        given = {"own": registry.OWN, "searches": list(left.values()), "one_thread": one_thread and not found}
        given |= {"only_images": only_images}
        done = subprocess.run(
            command,
            input=json.dumps(given),
            env=os.environ | dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            start_new_session=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found |= dict(zip(left, lines, strict=False))
        if len(lines) < len(left):
            found[list(left)[len(lines)]] = {"error": ending(done.returncode, done.stderr)}
    return found


def measure(search: Mapping[str, Any], *, one_thread: bool = False) -> dict[str, Any]:
    """Return the passes, the seconds and the number of epochs of a search, its images, and this process's memory.

    `bytes` are those that each process has for itself, `shared_bytes` those of images that all have in common.
    """
    from supernet.searching.forecast import foresee
    from supernet.searching.plan import planned

    plan = planned(**search)
    shared, images, reading = VARIABLE in os.environ, plan.images, peak_of_process()
    forecast = foresee(plan)
    if math.isnan(forecast.step_seconds):
        raise UserError("memory has run out: take a smaller --batch-size or --width, or --checkpointing")
    # One process reads shared images for all, so that only its steps count
    whole = (None if shared else reading, forecast.process_bytes, peak_of_process())
    own = max(0, max(size or 0 for size in whole) - shareable_of_process())
    pixels = [x for x in (images.x, images.x_test) if isinstance(x, Tensor) and shared]
    alone: dict[str, float] = {}
    if one_thread and plan.device.type == "cpu":
        with _one_thread():
            alone["seconds_of_one_thread"] = foresee(plan).epoch_seconds
    return alone | {
        "passes": forecast.steps * forecast.step_passes,
        "seconds": forecast.epoch_seconds,
        "epochs": forecast.epochs,
        "tuning": forecast.tuning,
        "left_out": forecast.left_out,
        "at_most": forecast.at_most,
        "data_name": plan.images.name,
        "fingerprint": plan.images.fingerprint,
        "classes": plan.network_size.classes,
        "bytes": own,
        "shared_bytes": sum(x.nbytes for x in pixels),
    }


def _images(search: Mapping[str, Any]) -> dict[str, Any]:
    from supernet.searching.plan import planned

    return {"fingerprint": planned(**search).images.fingerprint}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    """Return a budget with its number: that of the `first` search, as a whole number, where none is given."""
    if budget != "passes":
        return budget
    if "error" in first:
        raise UserError(f"the first method sets the budget, and cannot be had: {first['error']}")
    return f"passes={math.ceil(first['passes'] * (first['epochs'] + first['tuning']) * (1 - 1e-9))}"


def main() -> None:
    """Measure the searches of stdin."""
    given, lines = json.load(sys.stdin), sys.stdout
    with redirect_stdout(sys.stderr):  # what the user's own modules print is no line of ours
        registry.import_again(map(tuple, given["own"]))
        for number, search in enumerate(given["searches"]):
            try:
                if given["only_images"]:
                    found = _images(search)
                else:
                    found = measure(search, one_thread=given["one_thread"] and number == 0)
            except UserError as error:
                found = {"error": str(error)}
            print(json.dumps(found), file=lines, flush=True)


if __name__ == "__main__":
    main()
