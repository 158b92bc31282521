"""ZARTS and DARTS-PT on real CIFAR-10, at a size for two CPU cores: searches, and selections from these searches.

    python benchmarks/small_selection.py cifar10.npz --out runs/small-selection

The protocol is that of small_cifar.py: 8 192 images of 16x16, 40 epochs. The cost of each row is counted in passes of
one batch: forward with backward, and forward only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import supernet as sn
from study import arguments, spread

EPOCHS, STEPS = 40, 64  # steps: batches of 64 in the 4 096 training images
SGD = ["--alpha.optimizer", "sgd", "--alpha.lr", "0.025", "--alpha.weight-decay", "0"]


@dataclass(frozen=True)
class Search:
    """A search with its flags, the selectors that run in addition to its own, and the passes of a step."""

    label: str
    flags: Sequence[str]
    selectors: Sequence[str] = ()
    passes: int = 1


SEARCHES = (
    Search("Single-DARTS", ["--method", "single-darts"], ["perturbation"]),
    Search("DARTS", ["--method", "darts", *SGD], ["perturbation", "perturbation-magnitude"], 2),
    Search("blank", ["--method", "blank"]),
    Search("random search", ["--method", "random"]),
    Search("ZARTS-MGS", ["--method", "zarts-mgs"], ["perturbation"]),
    Search("ZARTS-MGS, released weights", ["--method", "zarts-mgs", "--importance", "released"]),
    Search("ZARTS-MGS, no inner steps", ["--method", "zarts-mgs", "--inner-opt", "released"]),
    Search("ZARTS-RS, 2 pairs", ["--method", "zarts-rs", "--samples", "2"]),
    Search("ZARTS-GLD, a third of the updates", ["--method", "zarts-gld", "--every", "30"]),
)


@dataclass(frozen=True)
class Study:
    """Searches with their common flags, the flags of selections, and those of retraining the selected architectures."""

    searches: Sequence[Search]
    shared: Sequence[str]
    select: Sequence[str] = ()
    retrain: Sequence[str] | None = None

    def folder(self, out: Path, search: Search, seed: int) -> Path:
        """Return the run folder of a search."""
        words = "".join(letter if letter.isalnum() else " " for letter in search.label.lower()).split()
        return out / f"{'-'.join(words)}-{seed}"

    def run(self, data: str, out: Path, seeds: int, workers: int) -> None:
        """Run all missing searches, selections and retrainings, seed by seed."""
        threads = str(max(1, (os.cpu_count() or 1) // workers))

        def supernet(*words: str) -> None:
            command = [sys.executable, "-m", "supernet", *words, "--quiet"]
            subprocess.run(
                command, env=os.environ | {"OMP_NUM_THREADS": threads}, check=True, stdout=subprocess.DEVNULL
            )

        def go(job: tuple[int, Search]) -> None:
            seed, search = job
            place = str(self.folder(out, search, seed))
            supernet("search", data, *self.shared, *search.flags, "--seed", str(seed), "--out", place)
            for name in search.selectors:
                supernet("select", place, "--with", name, *self.select)
            if self.retrain is not None:
                for found in [place, *(f"{place}/selections/{name}" for name in search.selectors)]:
                    supernet("retrain", found, *self.retrain)
            print(f"done: {search.label}, seed {seed}", flush=True)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(go, [(seed, search) for seed in range(seeds) for search in self.searches]))

    def rows(self, out: Path, seeds: int) -> Iterator[tuple[Search, str, list[sn.Run]]]:
        """Yield each search with each of its selectors, and the finished runs by seed."""
        for search in self.searches:
            runs = [sn.Run(self.folder(out, search, seed)) for seed in range(seeds)]
            runs = [run for run in runs if run.finished]
            if runs:
                yield search, runs[0].config["selector"], runs
            for name in search.selectors:
                chosen = [sn.Run(run.path / "selections" / name) for run in runs]
                if any(run.finished for run in chosen):
                    yield search, name, [run for run in chosen if run.finished]


def line(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def table(study: Study, out: Path, seeds: int) -> str:
    """Return a table in Markdown with the accuracies (%) that NAS-Bench-201 has for the selected architectures."""
    head = ["search", "selected by", "n", "CIFAR-10", "CIFAR-100", "ImageNet16-120", "collapsed", "architectures"]
    lines = [line([*head, "passes with backward", "without", "s/run"]), line(["---"] * 11)]
    lines += [_row(*row) for row in study.rows(out, seeds)]
    return "\n".join(lines) + "\n"


def _row(search: Search, name: str, runs: Sequence[sn.Run]) -> str:
    known = [run.summary["table_entry"] for run in runs]
    tests = [spread([found["results"][number]["test"] for found in known]) for number in range(3)]
    collapsed = f"{sum(run.verdict.startswith('collapsed') for run in runs)} of {len(runs)}"
    numbers = ", ".join(f"#{found['index']}" for found in known)
    costs = [statistics.fmean(parts) for parts in zip(*(_cost(search, run) for run in runs), strict=True)]
    return line([search.label, name, str(len(runs)), *tests, collapsed, numbers, *(f"{cost:.0f}" for cost in costs)])


def _cost(search: Search, run: sn.Run) -> tuple[float, float, float]:
    """Return the passes with and without backward, and the seconds, of a search or of a search with its selection."""
    selection = run if run.config["task"] == "select" else None
    searched = run if selection is None else sn.Run(run.path.parent.parent)
    if selection is None and run.config["selector"] != "magnitude":
        selection = sn.Run(run.path / "selections" / run.config["selector"])
    told = searched.metrics[-1].get("passes")
    backward, forward = (told["forward_backward"], told["forward"]) if told else (search.passes * EPOCHS * STEPS, 0)
    seconds = searched.summary["seconds"]
    if selection is not None:
        backward += backward / EPOCHS * len(selection.metrics)
        forward += selection.summary["passes"] * STEPS
        seconds += selection.summary["seconds"] + selection.summary["evaluation_seconds"]
    return backward, forward, seconds


def main(searches: Sequence[Search], about: str | None, seeds: int) -> None:
    """Run searches from the command line, by default with `seeds` seeds."""
    parser = arguments(about)
    parser.add_argument("--seeds", type=int, default=seeds)
    given = parser.parse_args()
    shared = ["--images", "8192", "--image-size", "16", "--epochs", str(EPOCHS), "--device", "cpu"]
    study = Study(searches, shared)
    study.run(given.data, given.out, given.seeds, given.workers)
    print(table(study, given.out, given.seeds))


if __name__ == "__main__":
    main(SEARCHES, __doc__, seeds=5)
