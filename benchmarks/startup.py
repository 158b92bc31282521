"""The time of commands that need no PyTorch, as whole processes, and the start of a search up to its first step.

    python benchmarks/startup.py

Commands are start of Python, imports, work, exit. Python alone and Python with PyTorch imported are measured in the
same rounds. Every command runs once before the first round, so that its files are in the cache.

The start of a search is in seconds of the processor, which other programs disturb less: from the start of the process
to the first step, part by part. The large set are 50 000 images of 32x32 pixels in an .npz file, made smaller to 16x16:
read by the process, and as the processes of a comparison share them (by all but the first).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from sides import fail, table, take_turns, where

SUPERNET = Path(sys.executable).with_name("supernet")
COMMANDS = {  # the command, a word that it must print, and its target in milliseconds
    "supernet --help": ([str(SUPERNET), "--help"], "query", 300),
    "supernet query 9930": ([str(SUPERNET), "query", "9930"], "73.51", 500),
    "python -c pass": ([sys.executable, "-c", "pass"], "", None),
    "python -c 'import torch'": ([sys.executable, "-c", "import torch"], "", None),
}


WORDS = ("--epochs", "1", "--quiet")
PARTS = ("PyTorch", "other imports, arguments", "plan and images", "supernet", "sum")
START = """
import os, sys, time
import torch
seen = [time.process_time()]
from supernet.cli import main
from supernet.searching import plan
from supernet.searching.task import SearchTask
def timed(work):
    def run(*given):
        seen.append(time.process_time())
        found = work(*given)
        seen.append(time.process_time())
        return found
    return run
def step(task, batches):
    print(*seen, time.process_time(), flush=True)
    os._exit(0)
plan.plan, SearchTask.step = timed(plan.plan), step
main(sys.argv[1:])
"""


def parts(words: Sequence[str], prepared: str = "") -> list[float]:
    """Return the seconds of the processor that each of PARTS takes at the start of a search."""
    environment = os.environ | {"SUPERNET_PREPARED": prepared}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", START, *words, "--out", str(Path(folder, "run"))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        fail(f"a search ended with status {done.returncode} and printed: {done.stderr}")
    seen = [float(word) for word in done.stdout.split()]
    return [after - before for before, after in pairwise([0.0, *seen])] + seen[-1:]


def starts(rounds: int, images: int) -> list[list[str]]:
    """Return a line for each start of a search, with the medians of its parts."""
    with tempfile.TemporaryDirectory() as folder:
        draws, file = np.random.default_rng(0), Path(folder, "large.npz")
        np.savez(file, x_train=draws.integers(0, 256, (images, 32, 32, 3), np.uint8), y_train=np.arange(images) % 10)
        large = ["search", str(file), *WORDS, "--image-size", "16", "--images", str(images // 2)]
        asks = {
            "digits": partial(parts, ["search", "digits", *WORDS]),
            "large set": partial(parts, large),
            "large set, shared": partial(parts, large, folder),
        }
        found = {name: np.median([ask() for _ in range(rounds + 1)][1:], axis=0) for name, ask in asks.items()}
    return [[name, *(f"{value:.2f}" for value in values), str(rounds)] for name, values in found.items()]


def milliseconds(name: str, command: Sequence[str], word: str) -> float:
    """Return the milliseconds of the command; exit with an error if it fails or does not print `word`."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    took = 1000 * (time.perf_counter() - start)
    if done.returncode or word not in done.stdout:
        fail(f"'{name}' ended with status {done.returncode} and printed: {done.stderr or done.stdout}")
    return took


def line(name: str, times: Sequence[float], python: Sequence[float], most: int | None) -> list[str]:
    low, middle, high = np.percentile(times, [10, 50, 90])
    ratio = np.median(np.array(times) / np.array(python))
    target = "" if most is None else f"< {most} ms"
    return [f"`{name}`", f"{middle:.0f} ms", f"{low:.0f} to {high:.0f}", f"{ratio:.1f}", str(len(times)), target]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--images", type=int, default=50_000, help="images of the large set")
    given = parser.parse_args()
    if not SUPERNET.exists():
        fail(f"'{SUPERNET}' does not exist: install the package with pip install -e .")
    print(where())
    asks = {name: partial(milliseconds, name, command, word) for name, (command, word, _) in COMMANDS.items()}
    take_turns(asks, 1)
    rounds = 3 if given.quick else given.rounds
    times = take_turns(asks, rounds)
    rows = [line(name, times[name], times["python -c pass"], most) for name, (_, _, most) in COMMANDS.items()]
    print(table(rows, ("command", "median", "10 to 90 %", "times python", "n", "target")))
    print(table(starts(rounds, given.images), ("start of a search, s", *PARTS, "n")))


if __name__ == "__main__":
    main()
