"""Accuracy by the number of edges that compute with learned weights, over all of NAS-Bench-201.

    python benchmarks/collapse_thresholds.py

The thresholds of `supernet.searching.collapse` are taken from this table. Only edges on a path from input to output
count.
"""

from __future__ import annotations

import numpy as np

import supernet as sn
from supernet.searching.collapse import verdict
from supernet.spaces.paths import live_choices


def main() -> None:
    space, table = sn.space("nasbench201"), sn.table("nasbench201")
    test = table.column("c10_test")
    found: dict[int, list[int]] = {}
    for index in range(len(table)):
        live = live_choices(space, space.cells["cell"], table.genotype(index)["cell"])
        found.setdefault(sum(space.primitive(choice.op).learned for choice in live), []).append(index)
    print("| learned edges at work | architectures | verdict | 10 % | median | best (CIFAR-10 test, %) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, indices in sorted(found.items()):
        verdicts = sorted({verdict(space, table.genotype(index)).state for index in indices})
        values = test[indices]
        low, middle = np.percentile(values, [10, 50])
        print(f"| {number} | {len(indices)} | {', '.join(verdicts)} | {low:.2f} | {middle:.2f} | {values.max():.2f} |")


if __name__ == "__main__":
    main()
