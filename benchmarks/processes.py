"""Time of a search's step on several processes with a thread each, beside the formula of docs/many-processors.md.

    python benchmarks/processes.py
    python benchmarks/processes.py --processes 1 2 4 --width 16 --depth 5 --image-size 32 --norm-shared

    T(N) = t(B/N) + m l + 2 (N - 1)/N S/W

- measured: the median of a step of N processes that share a batch of B images, from the end of one to that of the next.
- t(B/N): the same in one process on B/N images, while nothing else runs.
- m and S: the messages of a step, and their bytes, counted in the first process.
- l and W: from a message of two numbers, and from averaging S bytes, between the N processes.
- sent: what each process sent in a step over the loopback device, and 2 (N - 1)/N S. Other programs count, too.

The first epoch and the first step of each epoch do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing

import supernet as sn
from sides import fail, table, where
from supernet.engine.process_group import joined
from supernet.engine.processes import average, largest

HEAD = (
    *("processes", "measured, s", "10 to 90 %", "n", "t(B/N), s", "m", "S, bytes", "sent", "2 (N - 1)/N S", "T(N), s"),
    "times as fast",
)


class Clock(sn.Callback):
    """The seconds, messages and bytes of every step, from the end of the one before."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.messages = self.bytes = 0
        self.last: list[float] = []
        self.epochs = 0
        self.send = dist.all_reduce
        dist.all_reduce = self._counted

    def _counted(self, tensor: torch.Tensor, *given: Any, **more: Any) -> Any:
        self.messages, self.bytes = self.messages + 1, self.bytes + tensor.numel() * tensor.element_size()
        return self.send(tensor, *given, **more)

    def step(self) -> None:
        """Note what has passed since the step before."""
        now = [time.perf_counter(), self.messages, self.bytes, _loopback()]
        if self.last and self.epochs:
            self.rows.append([a - b for a, b in zip(now, self.last, strict=True)])
        self.last = now

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Count the epoch; what it ends with is in no step."""
        self.last, self.epochs = [], self.epochs + 1


def _loopback() -> int:
    """Return the bytes that the loopback device has sent; 0 where the system does not say."""
    file = Path("/sys/class/net/lo/statistics/tx_bytes")
    return int(file.read_text()) if file.exists() else 0


def _search(number: int, count: int, port: int, settings: Mapping[str, Any], folder: str) -> None:
    """Search as one of `count` processes; the first one writes what was measured."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_RANK": str(number)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    clock = Clock()
    sn.search(**settings, device="cpu", out=Path(folder, "run"), quiet=True, callbacks=[clock])
    own = int(statistics.median(row[2] for row in clock.rows)) // 4 if clock.rows else 1  # the first process alone
    with joined():
        (size,) = largest(max(1, own))
        latency = statistics.median(_timed(lambda: average([torch.zeros(2)])) for _ in range(200))
        whole = min(_timed(lambda: average([torch.zeros(size)])) for _ in range(15))
    if number == 0:
        Path(folder, "found.json").write_text(json.dumps({"rows": clock.rows, "latency": latency, "whole": whole}))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(count: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the steps of a search of `count` processes, and the seconds of a short and a long message."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        arguments = count, port, settings, folder
        torch.multiprocessing.start_processes(_search, arguments, nprocs=count, start_method="spawn")
        found: dict[str, Any] = json.loads(Path(folder, "found.json").read_text())
    return found


def line(count: int, settings: Mapping[str, Any], first: float | None) -> tuple[list[str], float]:
    """Return the row of N processes, and the seconds of a step; `first` are those of the first row."""
    found, share = measured(count, settings), settings["batch_size"] // count
    seconds, messages, size, wire = np.array(found["rows"]).T
    low, step, high = np.percentile(seconds, [10, 50, 90])
    alone = step
    if count > 1:
        alone = np.median(np.array(measured(1, {**settings, "batch_size": share})["rows"])[:, 0])
    m, s = int(np.median(messages)), int(np.median(size))
    forecast = alone + m * found["latency"] + max(0.0, found["whole"] - found["latency"]) if count > 1 else alone
    return [
        str(count),
        f"{step:.3f}",
        f"{low:.3f} to {high:.3f}",
        str(len(seconds)),
        f"{alone:.3f}",
        str(m if count > 1 else 0),
        str(s),
        f"{wire.mean() / count:.0f}" if count > 1 else "0",
        f"{2 * (count - 1) / count * s:.0f}",
        f"{forecast:.3f}",
        f"{(first or step) / step:.2f}",
    ], step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N")
    for name, default in {"batch-size": 64, "width": 8, "depth": 1, "epochs": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("images", "image-size"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--method", default="single-darts")
    parser.add_argument("--norm-shared", action="store_true")
    settings = vars(parser.parse_args())
    if settings["epochs"] < 2:
        fail("give 2 epochs or more: the first one warms up and does not count")
    print(where(threads=1))
    rows: list[list[str]] = []
    first: float | None = None
    for count in settings.pop("processes"):
        row, step = line(count, settings, first)
        first = first or step
        rows.append(row)
    print(table(rows, HEAD))


if __name__ == "__main__":
    sys.exit(main())
