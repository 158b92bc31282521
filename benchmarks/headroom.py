"""How much can any search gain at equal cost? The truth of NAS-Bench-201, on its three data sets.

    python benchmarks/headroom.py
    python benchmarks/headroom.py --latency
    python benchmarks/headroom.py --runs comparisons/medium/single-darts-*

For a ladder of FLOPs, the best cell there is within them against cells that need no search: those of the most FLOPs
within the limit, and the average one. With `--latency`: for each device that the table knows, the cells that are as
fast there as the ResNet cell (#11472, 78.6 M FLOPs on CIFAR-10), against that cell.

The best is chosen on the data set that it is measured on, by the test accuracies themselves, which are means of one to
three trainings: it is a bound of what a search can get, and somewhat too high. "Validated" is therefore the cell that
is best on the validation images of that data set, which a perfect search there would find, and "from CIFAR-10" the one
that is best on CIFAR-10's. "300 trained" is a random search that trains 300 cells within the limit for 12 epochs each
and takes the best on the validation images: mean and spread of 1 000 such searches. With `--runs`, finished searches in
this space, "found" is the cell within the limit that has their best op scores, as a search with `--max-flops` returns
it. Nothing is trained, and no images are needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import supernet as sn
from sides import spread, table
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits

RESNET, LIMITS = 11472, (20, 40, 60, 78.6, 100, 120, 160, 221)  # M FLOPs on CIFAR-10
SETS = {"CIFAR-10": "c10", "CIFAR-100": "c100", "ImageNet16-120": "in16"}
KNOWN = sn.table("nasbench201")
CHOICES = ("best", "validated", "from CIFAR-10")
TRAINED, SEARCHES = 300, 1000


def chosen(inside: NDArray[np.intp], name: str) -> list[int]:
    """Return the cell of each way to choose from those `inside` a limit, for a data set."""
    by = (KNOWN.column(f"{name}_test"), KNOWN.column(f"{name}_valid"), KNOWN.column("c10_valid"))
    return [int(inside[values[inside].argmax()]) for values in by]


def random_search(inside: NDArray[np.intp], name: str) -> str:
    """Return the mean and the spread of the test accuracy that random searches find inside a limit."""
    fitness, test, rng = KNOWN.column(f"{name}_valid_12"), KNOWN.column(f"{name}_test"), np.random.default_rng(0)
    drawn = [rng.choice(inside, TRAINED, replace=False) for _ in range(SEARCHES)]
    return spread([float(test[cells[fitness[cells].argmax()]]) for cells in drawn])


def found(runs: Sequence[sn.Run], most: float) -> list[int]:
    """Return the cell that each search has the best op scores of, within so many M FLOPs."""
    size = sn.NetworkSize(16, 5, (32, 32), 3, 10)
    feasible = FeasibleSet(sn.space("nasbench201"), size, Limits(max_flops=round(most * 1e6)))
    return [KNOWN.index(feasible.best(run.metrics[-1]["op_scores"])) for run in runs]


def by_flops(runs: Sequence[sn.Run]) -> None:
    """Print what there is within each number of FLOPs."""
    flops, ends = KNOWN.column("c10_flops_m"), {most: found(runs, most + 0.1) for most in LIMITS if runs}
    for title, name in SETS.items():
        test, rows = KNOWN.column(f"{name}_test"), []
        for most in LIMITS:
            inside = np.flatnonzero(flops <= most + 0.05)
            heaviest = inside[flops[inside] >= 0.98 * flops[inside].max()]
            reached = [spread(test[ends[most]].tolist())] if runs else []
            shown = [f"{test[cell]:.2f} (#{cell})" for cell in chosen(inside, name)]
            means = (f"{test[some].mean():.2f}" for some in (heaviest, inside))
            rows.append([f"{most:g}", str(len(inside)), *shown, random_search(inside, name), *reached, *means])
        print(f"{title}: the ResNet cell has {test[RESNET]:.2f}\n")
        own = [f"found, n = {len(runs)}"] if runs else []
        print(table(rows, ("at most, M FLOPs", "cells", *CHOICES, f"{TRAINED} trained", *own, "most FLOPs", "mean")))


def by_latency() -> None:
    """Print what there is above the ResNet cell, in points, on each device at its latency."""
    devices = {field: KNOWN.column(field) for field in KNOWN.fields if field.startswith("latency_")}
    rows, gains = [], []
    for field, milliseconds in devices.items():
        inside = np.flatnonzero(milliseconds <= milliseconds[RESNET])
        gain = []
        for name in SETS.values():
            test = KNOWN.column(f"{name}_test")
            gain += [test[cell] - test[RESNET] for cell in chosen(inside, name)]
        gains.append(gain)
        label = field.removeprefix("latency_").removesuffix("_ms")
        rows.append([label, f"{milliseconds[RESNET]:.3g}", str(len(inside)), *(f"{value:+.2f}" for value in gain)])
    rows.append(["median", "", "", *(f"{value:+.2f}" for value in np.median(gains, axis=0))])
    titles = [f"{title}: {choice}" for title in SETS for choice in CHOICES]
    print(table(rows, ("device", "ms", "cells", *titles)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", action="store_true", help="at the ResNet cell's latency on each device")
    parser.add_argument("--runs", type=sn.Run, nargs="+", default=(), help="finished searches, without --latency")
    given = parser.parse_args()
    if given.latency:
        by_latency()
    else:
        by_flops(given.runs)


if __name__ == "__main__":
    main()
