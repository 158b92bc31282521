"""Common parts of the studies: they run many `supernet search` commands and make a table and a figure of the results.

Every run is one command in a process of its own. Finished runs are kept, so a study can be stopped and started again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import supernet as sn
from supernet.report import plots

LARGEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


@dataclass(frozen=True)
class Row:
    """One row of the table: a method with its flags and its number of seeds."""

    label: str
    flags: Sequence[str]
    seeds: int
    drawn: bool = False


@dataclass(frozen=True)
class Study:
    """Rows with their common flags, and the epochs before the end that the table shows."""

    rows: Sequence[Row]
    shared: Sequence[str]
    stops: Sequence[int]

    def folder(self, out: Path, row: Row, seed: int) -> Path:
        """Return the folder of a run."""
        words = "".join(letter if letter.isalnum() else " " for letter in row.label.lower()).split()
        return out / f"{'-'.join(words)}-{seed}"

    def runs(self, out: Path, row: Row) -> list[sn.Run]:
        """Return the finished runs of a row."""
        return [run for run in (sn.Run(self.folder(out, row, seed)) for seed in range(row.seeds)) if run.finished]

    def run(self, data: str, out: Path, workers: int) -> None:
        """Run all missing searches, seed by seed for all rows, so that a table of few seeds is complete early."""
        jobs = [
            (row, seed) for seed in range(max(row.seeds for row in self.rows)) for row in self.rows if seed < row.seeds
        ]
        threads = str(max(1, (os.cpu_count() or 1) // workers))

        def go(job: tuple[Row, int]) -> None:
            row, seed = job
            place = ["--seed", str(seed), "--out", str(self.folder(out, row, seed)), "--quiet"]
            command = [sys.executable, "-m", "supernet", "search", data, *self.shared, *row.flags, *place]
            subprocess.run(
                command, env=os.environ | {"OMP_NUM_THREADS": threads}, check=True, stdout=subprocess.DEVNULL
            )
            print(f"done: {row.label}, seed {seed}", flush=True)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(go, jobs))

    def table(self, out: Path) -> str:
        """Return a table in Markdown with the accuracies (%) that NAS-Bench-201 has for the derived architectures."""
        stops = [f"epoch {stop}" for stop in self.stops]
        head = [
            "method",
            "n",
            *stops,
            "best epoch",
            "end",
            "C100, end",
            "IN16, end",
            "architectures at the end",
            "s/run",
        ]
        lines = [head, ["---"] * len(head)]
        lines += [self._line(row, runs) for row in self.rows if (runs := self.runs(out, row))]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def _line(self, row: Row, runs: Sequence[sn.Run]) -> list[str]:
        curves = [curve(run) for run in runs]
        stops = [spread([c[min(stop, len(c)) - 1] for c in curves]) for stop in self.stops]  # a search may end early
        known = [run.summary["table_entry"] for run in runs]
        ends = [spread([entry["results"][dataset]["test"] for entry in known]) for dataset in range(3)]
        found = ", ".join(f"#{entry['index']}" for entry in known)
        seconds = statistics.fmean(run.summary["seconds"] for run in runs)
        return [row.label, str(len(runs)), *stops, spread([max(c) for c in curves]), *ends, found, f"{seconds:.0f}"]

    def figure(self, out: Path, path: Path) -> None:
        """Write the trajectories of the rows that are drawn: mean and one standard deviation over the seeds."""
        curves = {row.label: [curve(run) for run in self.runs(out, row)] for row in self.rows if row.drawn}
        plots.save(plots.draw_trajectory({label: c for label, c in curves.items() if c}, references()), path)


def curve(run: sn.Run, field: str = "c10_test") -> list[float]:
    """Return the benchmark accuracy of the derived architecture after every epoch."""
    return [row["table"][field] for row in run.metrics]


def spread(values: Sequence[float]) -> str:
    """Return mean ± sample standard deviation."""
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def references() -> Mapping[str, float]:
    """Return the accuracies that need no search: of the best and the largest architecture, and the mean."""
    known = sn.table("nasbench201")
    test, largest = known.column("c10_test"), known.index(sn.space("nasbench201").parse(LARGEST))
    return {
        f"best there is (#{known.best('c10_test')})": float(test.max()),
        f"always the largest cell (#{largest})": float(test[largest]),
        "mean of the space": float(test.mean()),
    }


def arguments(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every study."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    return parser


def main(study: Study, about: str | None) -> None:
    """Run a study from the command line."""
    parser = arguments(about)
    parser.add_argument("--report", type=Path, help="write the table here (.md) and the figure beside it")
    given = parser.parse_args()
    study.run(given.data, given.out, given.workers)
    text = study.table(given.out)
    print(text)
    if given.report is not None:
        given.report.write_text(text)
        study.figure(given.out, given.report.with_suffix(".svg"))
