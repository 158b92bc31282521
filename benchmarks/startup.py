"""The time of commands that need no PyTorch, as whole processes: start of Python, imports, work, exit.

    python benchmarks/startup.py

Python alone and Python with PyTorch imported are measured in the same rounds. Every command runs once before the first
round, so that its files are in the cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
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
    given = parser.parse_args()
    if not SUPERNET.exists():
        fail(f"'{SUPERNET}' does not exist: install the package with pip install -e .")
    print(where())
    asks = {name: partial(milliseconds, name, command, word) for name, (command, word, _) in COMMANDS.items()}
    take_turns(asks, 1)
    times = take_turns(asks, 3 if given.quick else given.rounds)
    rows = [line(name, times[name], times["python -c pass"], most) for name, (_, _, most) in COMMANDS.items()]
    print(table(rows, ("command", "median", "10 to 90 %", "times python", "n", "target")))


if __name__ == "__main__":
    main()
