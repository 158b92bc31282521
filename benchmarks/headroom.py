"""How much can any search gain at equal cost? The truth of NAS-Bench-201, on its three data sets.

    python benchmarks/headroom.py

For a ladder of FLOPs, the best cell there is within them against cells that need no search: those of the most FLOPs
within the limit, and the average one. The ResNet cell (#11472) has 78.6 M FLOPs on CIFAR-10. The best is chosen on the
data set that it is measured on, by the test accuracies themselves, which are means of one to three trainings: it is a
bound of what a search can get, and somewhat too high. "Known" is therefore the cell that is best on CIFAR-10's
validation images, measured on each data set. Needs no training and no images.
"""

from __future__ import annotations

import numpy as np

import supernet as sn
from sides import table

RESNET, LIMITS = 11472, (20, 40, 60, 78.6, 100, 120, 160, 221)  # M FLOPs on CIFAR-10
SETS = {"CIFAR-10": "c10_test", "CIFAR-100": "c100_test", "ImageNet16-120": "in16_test"}


def main() -> None:
    """Run from the command line."""
    known = sn.table("nasbench201")
    flops, chosen_by = known.column("c10_flops_m"), known.column("c10_valid")
    for title, field in SETS.items():
        test, rows = known.column(field), []
        for most in LIMITS:
            inside = np.flatnonzero(flops <= most + 0.05)
            heaviest = inside[flops[inside] >= 0.98 * flops[inside].max()]
            best, chosen = inside[test[inside].argmax()], inside[chosen_by[inside].argmax()]
            shown = [f"{test[best]:.2f} (#{best})", f"{test[chosen]:.2f} (#{chosen})"]
            rows.append(
                [f"{most:g}", str(len(inside)), *shown, f"{test[heaviest].mean():.2f}", f"{test[inside].mean():.2f}"]
            )
        print(f"{title}: the ResNet cell has {test[RESNET]:.2f}\n")
        print(table(rows, ("at most, M FLOPs", "cells", "best", "known", "most FLOPs", "mean")))


if __name__ == "__main__":
    main()
