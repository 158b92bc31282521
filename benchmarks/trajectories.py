"""What the searches of comparisons chose, on all data sets of the table, and would have chosen after fewer epochs.

    supernet compare benchmarks/small_cifar.yaml --out comparisons/small-cifar
    python benchmarks/trajectories.py comparisons/small-cifar --epochs 10 20 30 --figure small-cifar.svg

Accuracies (%) are those that NAS-Bench-201 has for an architecture. The table of `supernet compare` has the passes, the
seconds and the verdicts, and compares the methods at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import supernet as sn
from sides import spread, table
from supernet.report import plots
from supernet.searching.compare.cases import Case, cases
from supernet.searching.compare.rows import largest


def finished(comparison: sn.Comparison) -> Iterator[tuple[Case, list[sn.Run]]]:
    """Yield each row of a comparison that has results, with the runs that hold them, by seed."""
    config = comparison.record.config
    for case in cases(config):
        runs = [sn.Run(case.found(comparison.path, seed)) for seed in config.seeds]
        if any(run.finished for run in runs):
            yield case, [run for run in runs if run.finished]


def curve(run: sn.Run) -> list[float]:
    """Return the accuracy of the derived architecture after every epoch of a search."""
    return [row["table"]["c10_test"] for row in run.metrics]


def row(case: Case, runs: Sequence[sn.Run], epochs: Sequence[int]) -> list[str]:
    """Return a row of the table; a selection has no epochs."""
    stops = [""] * (len(epochs) + 1)
    if not case.selector:
        curves = [curve(run) for run in runs]  # a search may end early
        stops = [spread([c[min(epoch, len(c)) - 1] for c in curves]) for epoch in epochs]
        stops.append(spread([max(c) for c in curves]))
    known = [run.summary["table_entry"] for run in runs]
    ends = [spread([entry["results"][number]["test"] for entry in known]) for number in range(3)]
    return [case.label, str(len(runs)), *stops, *ends, ", ".join(f"#{entry['index']}" for entry in known)]


def references() -> Mapping[str, float]:
    """Return the accuracies that need no search: of the best and the largest architecture, and the mean."""
    known = sn.table("nasbench201")
    test, heavy = known.column("c10_test"), known.index(largest(sn.space("nasbench201")))
    return {
        f"best there is (#{known.best('c10_test')})": float(test.max()),
        f"always the largest cell (#{heavy})": float(test[heavy]),
        "mean of the space": float(test.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", type=Path, nargs="+", help="folders of comparisons on NAS-Bench-201")
    parser.add_argument("--epochs", type=int, nargs="*", default=[], help="epochs before the end")
    parser.add_argument("--figure", type=Path, help="draw the searches here")
    given = parser.parse_args()
    found = [pair for folder in given.comparisons for pair in finished(sn.Comparison.read(folder))]
    head = ["method", "n", *(f"epoch {epoch}" for epoch in given.epochs), "best epoch"]
    head += ["CIFAR-10, end", "CIFAR-100, end", "ImageNet16-120, end", "architectures at the end"]
    print(table([row(case, runs, given.epochs) for case, runs in found], head))
    if given.figure is not None:
        curves = {case.label: [curve(run) for run in runs] for case, runs in found if not case.selector}
        plots.save(plots.draw_trajectory(curves, references()), given.figure)


if __name__ == "__main__":
    main()
