"""At which epoch should a search be read? Rules that look at its own rows, never at the table.

    supernet search cifar10.npz --images 8192 --image-size 16 --epochs 40 --alpha.optimizer sgd --alpha.lr 0.025 \
        --alpha.weight-decay 0 --seed 0 --out comparisons/drift/0
    python benchmarks/stopping.py comparisons/drift/? --confirm comparisons/drift/1?

Each rule reads a cell from the rows of a finished search in NAS-Bench-201, one row per epoch. Accuracies (%) are those
that the table has for these cells on CIFAR-10. Differences are from the last epoch, paired by search, with Student's 95
% interval; "alike" is how many searches have the most frequent cell, and "epochs" the mean number of those that a rule
needs. Rules are chosen by the first runs, and `--confirm` are others that nobody has looked at, to be looked at once.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

import supernet as sn
from sides import spread, table
from supernet.searching.compare.statistics import difference
from supernet.searching.patience import unchanged

SPACE, KNOWN = sn.space("nasbench201"), sn.table("nasbench201")
TEST = KNOWN.column("c10_test")
Rows = Sequence[Mapping[str, Any]]
Rule = Callable[[Rows], tuple[int, int]]
"""Returns the index of the cell that it reads from the rows of a search, and the epochs that it needs for that."""


def cells(rows: Rows) -> list[int]:
    """Return the index of the cell that each epoch would choose."""
    return [row["index"] for row in rows]


def at(rows: Rows, epoch: int) -> tuple[int, int]:
    """Read after an epoch, counted from 1."""
    return cells(rows)[epoch - 1], epoch


def after(share: float) -> Rule:
    """Read after a share of the epochs, at the learning rate that the schedule has there."""
    return lambda rows: at(rows, math.ceil(share * len(rows)))


def averaged(first: float) -> Rule:
    """Read the mean op scores of all epochs after a share of them, as the selector `average` does."""

    def rule(rows: Rows) -> tuple[int, int]:
        scores = [row["op_scores"]["cell"] for row in rows[math.floor(first * len(rows)) :]]
        return KNOWN.index(SPACE.derive({"cell": np.mean(scores, axis=0).tolist()})), len(rows)

    return rule


def patient(epochs: int) -> Rule:
    """Read where a search with this `patience` ends: after so many epochs in a row that have not changed the cell."""

    def rule(rows: Rows) -> tuple[int, int]:
        history = [row["op_scores"] for row in rows]
        ends = (end for end in range(1, len(rows)) if unchanged(history[:end], SPACE.derive, epochs) == epochs)
        return at(rows, next(ends, len(rows)))

    return rule


def longest(rows: Rows) -> tuple[int, int]:
    """Read the cell that most epochs have chosen, the later one of two."""
    counts = Counter(cells(rows))
    return max(reversed(cells(rows)), key=counts.__getitem__), len(rows)


def best_valid(rows: Rows) -> tuple[int, int]:
    """Read after the epoch with the best accuracy on the validation images, the first of two."""
    return cells(rows)[int(np.argmax([row["valid_accuracy"] for row in rows]))], len(rows)


def stalls(epochs: int) -> Rule:
    """Read when the accuracy on the validation images has had no new best for so many epochs, at the best one."""

    def rule(rows: Rows) -> tuple[int, int]:
        best = list(accumulate((row["valid_accuracy"] for row in rows), max))
        since = (last for last in range(epochs, len(rows)) if best[last] == best[last - epochs])
        return best_valid(rows[: next(since, len(rows) - 1) + 1])

    return rule


def overfits(gap: float) -> Rule:
    """Read before the first epoch in which the weights overfit: training above validation by more than `gap`."""

    def rule(rows: Rows) -> tuple[int, int]:
        over = (epoch for epoch, row in enumerate(rows) if row["accuracy"] - row["valid_accuracy"] > gap)
        first = next(over, len(rows))  # counted from 0, so the number of epochs before it
        return cells(rows)[max(1, first) - 1], min(first + 1, len(rows))

    return rule


RULES: Mapping[str, Rule] = {
    "the last epoch": after(1),
    "after half of the epochs": after(0.5),
    "after three quarters": after(0.75),
    "op scores averaged over the last third": averaged(2 / 3),
    "over the last half": averaged(0.5),
    "over all epochs": averaged(0),
    "patience of 3 epochs": patient(3),
    "of 5": patient(5),
    "of 8": patient(8),
    "cell of most epochs": longest,
    "best validation accuracy": best_valid,
    "no better validation accuracy for 3 epochs": stalls(3),
    "training 3 points above validation": overfits(0.03),
    "training 5 points above validation": overfits(0.05),
    "training 8 points above validation": overfits(0.08),
}


def judged(name: str, runs: Sequence[Rows]) -> list[str]:
    """Return a row of the table."""
    chosen, epochs = zip(*(RULES[name](rows) for rows in runs), strict=True)
    found, last = TEST[[*chosen]], TEST[[cells(rows)[-1] for rows in runs]]
    against = difference(dict(enumerate(found)), dict(enumerate(last)))
    alike = Counter(chosen).most_common(1)[0][1]
    named = ", ".join(f"#{cell}" for cell in chosen)
    shown = [spread(found.tolist()), f"{found.min():.2f}", str(against), str(alike), f"{np.mean(epochs):.1f}"]
    return [name, *shown, named]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=sn.Run, nargs="+", help="finished searches")
    parser.add_argument("--confirm", type=sn.Run, nargs="+", default=(), help="more of them, for a second table")
    given = parser.parse_args()
    for runs in (given.runs, given.confirm):
        if runs:
            rows = [judged(name, [run.metrics for run in runs]) for name in RULES]
            head = ("rule", f"CIFAR-10, n = {len(runs)}", "least", "against the last", "alike", "epochs", "cells")
            print(table(rows, head))


if __name__ == "__main__":
    main()
