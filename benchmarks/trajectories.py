"""What the searches of comparisons chose, on all data sets of the table, and would have chosen after fewer epochs.

    supernet compare benchmarks/small_cifar.yaml --out comparisons/small-cifar
    python benchmarks/trajectories.py comparisons/small-cifar --epochs 10 20 30 --figure small-cifar.svg
    python benchmarks/trajectories.py comparisons/small-cifar --within 0.5

`--within` adds what the same op scores choose among the cells with at most that share of the largest one's parameters.
Accuracies (%) are those that NAS-Bench-201 has for an architecture. The table of `supernet compare` has the passes, the
seconds and the verdicts, and compares the methods at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import supernet as sn
from sides import spread, table
from supernet.models.cost.count import largest
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.report import plots
from supernet.searching.compare.cases import Case, cases

SPACE, KNOWN = sn.space("nasbench201"), sn.table("nasbench201")
TEST = KNOWN.column("c10_test")
PATHS = ("random", "rsps", "enas", "nao-v2", "nao-v2-small")  # their op scores are those of one architecture


def finished(comparison: sn.Comparison) -> Iterator[tuple[Case, list[sn.Run]]]:
    """Yield each row of a comparison that has results, with the runs that hold them, by seed."""
    config = comparison.record.config
    for case in cases(config):
        runs = [sn.Run(case.found(comparison.path, seed)) for seed in config.seeds]
        if any(run.finished for run in runs):
            yield case, [run for run in runs if run.finished]


def has_curve(case: Case, runs: Sequence[sn.Run]) -> bool:
    """Return whether epochs have an architecture: not those of a selection, or of a search without alphas."""
    return not case.selector and "table" in runs[0].metrics[-1]


def curve(run: sn.Run, epochs: int = 0) -> list[float]:
    """Return the accuracy of the derived architecture after every epoch of a search.

    One that has ended before so many `epochs` keeps its last one.
    """
    found = [row["table"]["c10_test"] for row in run.metrics]
    return found + found[-1:] * (epochs - len(found))


def row(case: Case, runs: Sequence[sn.Run], epochs: Sequence[int], within: FeasibleSet | None) -> list[str]:
    """Return a row of the table."""
    stops = [""] * (len(epochs) + 1)
    limited = [""] if within else []
    if has_curve(case, runs):
        curves = [curve(run) for run in runs]  # a search may end early
        stops = [spread([c[min(epoch, len(c)) - 1] for c in curves]) for epoch in epochs]
        stops.append(spread([max(c) for c in curves]))
        if within and runs[0].summary["selector"] == "magnitude" and case.method not in PATHS:
            chosen = [KNOWN.index(within.best(run.metrics[-1]["op_scores"])) for run in runs]
            limited = [f"{spread(TEST[chosen].tolist())}, {', '.join(f'#{index}' for index in chosen)}"]
    known = [run.summary["table_entry"] for run in runs]
    ends = [spread([entry["results"][number]["test"] for entry in known]) for number in range(3)]
    return [case.label, str(len(runs)), *stops, *limited, *ends, ", ".join(f"#{entry['index']}" for entry in known)]


def references() -> Mapping[str, float]:
    """Return the accuracies that need no search: of the best and the largest architecture, and the mean."""
    heavy = KNOWN.index(largest(SPACE))
    return {
        f"best there is (#{KNOWN.best('c10_test')})": float(TEST.max()),
        f"always the largest cell (#{heavy})": float(TEST[heavy]),
        "mean of the space": float(TEST.mean()),
    }


def limited(share: float) -> tuple[FeasibleSet, str]:
    """Return the cells with at most `share` of the largest one's parameters, and what they are without a search."""
    params = KNOWN.column("c10_params_m")
    most = share * float(params.max())
    inside = np.flatnonzero(params <= most)
    largest_inside = inside[params[inside] == params[inside].max()]
    size = sn.NetworkSize(16, 5, (32, 32), 3, 10)
    return FeasibleSet(SPACE, size, Limits(max_params=int(most * 1e6))), (
        f"{len(inside)} cells have at most {most:.3f} M parameters: best {TEST[inside].max():.2f}, "
        f"mean {TEST[inside].mean():.2f}, the {len(largest_inside)} largest {spread(TEST[largest_inside].tolist())}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", type=Path, nargs="+", help="folders of comparisons on NAS-Bench-201")
    parser.add_argument("--epochs", type=int, nargs="*", default=[], help="epochs before the end")
    parser.add_argument("--figure", type=Path, help="draw the searches here")
    parser.add_argument("--within", type=float, help="share of the largest cell's parameters")
    given = parser.parse_args()
    within, words = limited(given.within) if given.within else (None, "")
    found = [pair for folder in given.comparisons for pair in finished(sn.Comparison.read(folder))]
    head = ["method", "n", *(f"epoch {epoch}" for epoch in given.epochs), "best epoch"]
    head += [f"at most {given.within:.0%} of the parameters"] if within else []
    head += ["CIFAR-10, end", "CIFAR-100, end", "ImageNet16-120, end", "architectures at the end"]
    print(table([row(case, runs, given.epochs, within) for case, runs in found], head))
    print(words)
    if given.figure is not None:
        drawn = {case.label: runs for case, runs in found if has_curve(case, runs)}
        longest = max((len(run.metrics) for runs in drawn.values() for run in runs), default=0)
        curves = {label: [curve(run, longest) for run in runs] for label, runs in drawn.items()}
        plots.save(plots.draw_trajectory(curves, references()), given.figure)


if __name__ == "__main__":
    main()
