"""First results: the claims of Single-DARTS on real CIFAR-10, small enough for two CPU cores.

    python benchmarks/small_cifar.py cifar10.npz --out runs/small-cifar --workers 2

`cifar10.npz` holds x_train, y_train (uint8, 32x32x3) of CIFAR-10; the first 8 192 training images are used: 4 096 for
the weights and another 4 096 for alpha (bi-level) or for validation only. Every run is one `supernet search` command in a
process with one thread; runs that are there already are kept, so the script can be stopped and started again. It prints
the table, and writes it to `--report` with the figure beside it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import supernet as sn
from supernet import plots

SHARED = ["--images", "8192", "--image-size", "16", "--epochs", "40"]
SGD = ["--alpha.optimizer", "sgd", "--alpha.lr", "0.025", "--alpha.weight-decay", "0"]
STOPS = (10, 20, 30, 40)  # epochs the table shows


@dataclass(frozen=True)
class Row:
    """One line of the table: a method with its flags and how many seeds of it are run."""

    label: str
    flags: Sequence[str]
    seeds: int


ROWS = (
    Row("Single-DARTS (sigmoid)", ["--method", "single-darts"], 5),
    Row("DARTS 1st order, alpha SGD", ["--method", "darts", *SGD], 5),
    Row("random search", ["--method", "random"], 5),
    Row("DARTS 2nd order, alpha SGD", ["--method", "darts-2nd", *SGD], 2),
    Row("Single-DARTS, softmax", ["--method", "single-darts", "--activation", "softmax"], 3),
    Row("other batch of the same half, softmax", ["--method", "darts", "--regime", "same_subset", *SGD], 3),
    Row("DARTS 1st order, alpha Adam", ["--method", "darts"], 3),
    Row("Single-DARTS, alpha Adam", ["--method", "single-darts", "--alpha.optimizer", "adam"], 3),
    Row("Single-DARTS, sigmoid from 1/2", ["--method", "single-darts", "--sigmoid-init", "zero"], 3),
)


def folder(out: Path, row: Row, seed: int) -> Path:
    name = "".join(letter if letter.isalnum() else "-" for letter in row.label.lower())
    return out / f"{name}-{seed}"


def command(data: str, out: Path, row: Row, seed: int) -> list[str]:
    place = ["--seed", str(seed), "--out", str(folder(out, row, seed)), "--device", "cpu", "--quiet"]
    return [sys.executable, "-m", "supernet", "search", data, *SHARED, *row.flags, *place]


def run_all(data: str, out: Path, workers: int) -> None:
    # Round by round over the seeds, so that a table with few seeds is there early.
    jobs = [(row, seed) for seed in range(max(row.seeds for row in ROWS)) for row in ROWS if seed < row.seeds]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}

    def go(job: tuple[Row, int]) -> None:
        subprocess.run(command(data, out, *job), env=one_thread, check=True, stdout=subprocess.DEVNULL)
        print(f"done: {job[0].label}, seed {job[1]}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(go, jobs))


def curve(run: sn.Run, field: str = "c10_test") -> list[float]:
    return [row["known"][field] for row in run.metrics]


def spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def table(out: Path) -> str:
    head = ["method", "n", *(f"epoch {stop}" for stop in STOPS), "best epoch", "C100 end", "IN16 end", "ended at", "s/run"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for row in ROWS:
        runs = [sn.Run(folder(out, row, seed)) for seed in range(row.seeds)]
        runs = [run for run in runs if run.finished]
        if not runs:
            continue
        curves = [curve(run) for run in runs]
        cells = [row.label, str(len(runs)), *(spread([c[stop - 1] for c in curves]) for stop in STOPS)]
        cells += [spread([max(c) for c in curves])]
        cells += [spread([curve(run, field)[-1] for run in runs]) for field in ("c100_test", "in16_test")]
        cells += [", ".join(f"#{run.metrics[-1]['index']}" for run in runs)]
        cells += [f"{statistics.fmean(run.summary['seconds'] for run in runs):.0f}"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def figure(out: Path, path: Path) -> None:
    runs = {row.label: [sn.Run(folder(out, row, seed)) for seed in range(row.seeds)] for row in ROWS[:4]}
    curves = {label: [curve(run) for run in done if run.finished] for label, done in runs.items()}
    known = sn.table("nasbench201")
    largest = known.index(sn.space("nasbench201").parse("+".join("|" + "".join(f"nor_conv_3x3~{s}|" for s in range(t)) for t in (1, 2, 3))))
    references = {
        f"best there is (#{known.best('c10_test')})": float(known.column("c10_test").max()),
        f"always the largest cell (#{largest})": float(known.column("c10_test")[largest]),
        "mean of the space": float(known.column("c10_test").mean()),
    }
    plots.save(plots.draw_trajectory({label: c for label, c in curves.items() if c}, references), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/small-cifar"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", type=Path, default=None, help="write the table here (.md) and the figure beside it")
    parser.add_argument("--only-report", action="store_true", help="do not run anything")
    given = parser.parse_args()
    if not given.only_report:
        run_all(given.data, given.out, given.workers)
    text = f"{table(given.out)}\nsupernet {sn.__version__}, {platform.processor() or platform.machine()}, one thread per run.\n"
    print(text)
    if given.report is not None:
        given.report.write_text(text)
        figure(given.out, given.report.with_suffix(".svg"))


if __name__ == "__main__":
    main()
