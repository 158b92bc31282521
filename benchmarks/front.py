"""Accuracy against latency under a penalty that needs no gradient: ZARTS-RS on NAS-Bench-201.

    python benchmarks/front.py cifar10.npz --out runs/front --report docs/images/front.svg

The protocol is that of small_cifar.py with 12 epochs. The lookahead takes no steps of the weights, so all candidates of
an update are evaluated in one pass. Accuracies and latencies are those of the table.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import supernet as sn
from small_selection import line
from study import arguments, spread
from supernet.report import plots

FIELD = "latency_raspi4_ms"
PENALTIES = (0.0, 0.1, 0.3, 1.0)
SHARED = ["--images", "8192", "--image-size", "16", "--epochs", "12", "--device", "cpu"]
METHOD = ["--method", "zarts-rs", "--steps", "0", "--every", "5"]


def folder(out: Path, penalty: float, seed: int) -> Path:
    """Return the run folder of a search."""
    return out / f"penalty-{penalty:g}-{seed}"


def run(data: str, out: Path, seeds: int, workers: int) -> None:
    """Run all missing searches, seed by seed."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))

    def go(job: tuple[int, float]) -> None:
        seed, penalty = job
        own = ["--penalty", f"{FIELD}={penalty:g}"] if penalty else []
        place = ["--seed", str(seed), "--out", str(folder(out, penalty, seed)), "--quiet"]
        command = [sys.executable, "-m", "supernet", "search", data, *SHARED, *METHOD, *own, *place]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": threads}, check=True, stdout=subprocess.DEVNULL)
        print(f"done: {penalty:g}, seed {seed}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(go, [(seed, penalty) for seed in range(seeds) for penalty in PENALTIES]))


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="write the figure here")
    given = parser.parse_args()
    run(given.data, given.out, given.seeds, given.workers)
    table = sn.table("nasbench201")
    known = np.stack([table.column(FIELD), table.column("c10_test")], axis=1)
    found = {
        penalty: [
            known[sn.Run(folder(given.out, penalty, seed)).summary["table_entry"]["index"]]
            for seed in range(given.seeds)
        ]
        for penalty in PENALTIES
    }
    print(line(["penalty", "n", f"{FIELD}", "CIFAR-10 test accuracy, %", "best there is within that latency"]))
    print(line(["---"] * 5))
    for penalty, points in found.items():
        latencies, accuracies = zip(*points, strict=True)
        best = [float(known[known[:, 0] <= latency, 1].max()) for latency in latencies if not math.isnan(latency)]
        print(line([f"{penalty:g}", str(len(points)), *map(spread, (latencies, accuracies, best))]))
    if given.report is not None:
        named = {f"penalty {penalty:g}": [tuple(point) for point in points] for penalty, points in found.items()}
        plots.save(plots.draw_front(named, known, table.title(FIELD)), given.report)


if __name__ == "__main__":
    main()
