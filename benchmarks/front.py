"""Accuracy against latency of searches for targets, and of limits on one search: ZARTS-RS on NAS-Bench-201.

    python benchmarks/front.py cifar10.npz --out comparisons/front --figure docs/images/front.svg

The images are those of small_cifar.yaml, with 12 epochs. The lookahead takes no steps of the weights, so all candidates
of an update are evaluated in one pass. A target has a search of its own. A limit has none: within it, the best is read
out of the search whose target, above all networks, is free, as `supernet search --front` does. The last column is the
difference of accuracy that the searches for a target have, seed by seed. Accuracies and latencies are the table's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import supernet as sn
from sides import spread, table
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.report import plots
from trajectories import finished

FIELD = "latency_raspi4_ms"
TARGETS = (1000.0, 20.0, 10.0, 5.0)  # ms, the first above all networks
HEAD = (
    "ms at most",
    "n",
    FIELD,
    "CIFAR-10 test accuracy, %",
    "best there is within that latency",
    "above the limit, points",
)
SPACE, KNOWN = sn.space("nasbench201"), sn.table("nasbench201")
PLACES = np.stack([KNOWN.column(FIELD), KNOWN.column("c10_test")], axis=1)  # NaN where a latency is missing


def within(run: sn.Run, ms: float) -> int:
    """Return the number of the architecture that a search has the best op scores of, within so many ms."""
    feasible = FeasibleSet(SPACE, sn.NetworkSize(16, 5, (32, 32), 3, 10), Limits(max_latency_ms=ms, latency=FIELD))
    return KNOWN.index(feasible.best(run.metrics[-1]["op_scores"]))


def row(label: str, found: Sequence[int], limited: Sequence[int] = ()) -> list[str]:
    """Return a row of the table; `limited` are what the limit of the same latency gives with the same seeds."""
    latencies, accuracies = PLACES[list(found)].T
    best = [PLACES[PLACES[:, 0] <= ms, 1].max() for ms in latencies[np.isfinite(latencies)]]
    gain = spread((accuracies - PLACES[list(limited), 1]).tolist()) if len(limited) == len(found) else ""
    return [label, str(len(found)), *map(spread, (latencies.tolist(), accuracies.tolist(), best)), gain]


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
    cases = [(dict(case.point).get("target_latency_ms"), runs) for case, runs in finished(comparison)]
    searches = {float(ms): runs for ms, runs in cases if ms is not None}  # random search has no target
    found = {ms: [run.summary["table_entry"]["index"] for run in runs] for ms, runs in searches.items()}
    free = searches[TARGETS[0]]
    limited = {ms: [within(run, ms) for run in free] for ms in TARGETS[1:]}
    rows = [row(f"target {ms:g}", indices, limited.get(ms, ())) for ms, indices in found.items()]
    print(table([*rows, *(row(f"limit {ms:g}", indices) for ms, indices in limited.items())], HEAD))
    if given.figure is not None:
        sides = {
            f"{what} {ms:g}": each
            for what, some in (("target", found), ("limit", limited))
            for ms, each in some.items()
        }
        named = {label: [tuple(point) for point in PLACES[indices]] for label, indices in sides.items()}
        plots.save(plots.draw_front(named, PLACES, KNOWN.title(FIELD)), given.figure)


if __name__ == "__main__":
    main()
