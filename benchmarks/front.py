"""Accuracy against latency with targets of a search without a gradient: ZARTS-RS on NAS-Bench-201.

    python benchmarks/front.py cifar10.npz --out comparisons/front --figure docs/images/front.svg

The images are those of small_cifar.yaml, with 12 epochs. The lookahead takes no steps of the weights, so all candidates
of an update are evaluated in one pass. Accuracies and latencies are those of the table.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

import supernet as sn
from sides import spread, table
from supernet.report import plots
from trajectories import finished

FIELD = "latency_raspi4_ms"
TARGETS = (1000.0, 20.0, 10.0, 5.0)  # ms, the first above all networks
HEAD = ("target, ms", "n", FIELD, "CIFAR-10 test accuracy, %", "best there is within that latency")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--figure", type=Path, help="draw the figure here")
    given = parser.parse_args()
    comparison = sn.compare(
        given.data,
        methods=["zarts-rs"],
        seeds=given.seeds,
        axes={"target_latency_ms": list(TARGETS)},
        latency=FIELD,
        budget="epochs",
        out=given.out,
        images=given.images,
        image_size=16,
        epochs=given.epochs,
        device="cpu",
        steps=0,
        every=5,
    )
    known = sn.table("nasbench201")
    places = np.stack([known.column(FIELD), known.column("c10_test")], axis=1)
    rows, named = [], {}
    for case, runs in finished(comparison):
        if case.method == "zarts-rs":
            points = [places[run.summary["table_entry"]["index"]] for run in runs]
            latencies, accuracies = zip(*points, strict=True)
            best = [float(places[places[:, 0] <= ms, 1].max()) for ms in latencies if not math.isnan(ms)]
            target = dict(case.point)["target_latency_ms"]
            rows.append([target, str(len(points)), *map(spread, (latencies, accuracies, best))])
            named[f"target {target}"] = [tuple(point) for point in points]
    print(table(rows, HEAD))
    if given.figure is not None:
        plots.save(plots.draw_front(named, places, known.title(FIELD)), given.figure)


if __name__ == "__main__":
    main()
