"""The network that a comparison leads to: the best on the validation images of all that it has retrained.

Searches with different seeds find different cells. DARTS (Liu et al., ICLR 2019, arXiv 1806.09055) ran four, trained
what each had found for a short while, and took the one that was best on the validation images.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from supernet.engine.run import Run
from supernet.searching.compare.cases import cases, largest_cases
from supernet.searching.compare.config import Record
from supernet.searching.compare.rows import retrainings


@dataclass(frozen=True)
class Choice:
    """The best of `count` architectures that were retrained.

    - `name`: its row, and its seed if it was searched.
    - `run`: its first retraining.
    - `accuracy`: the mean of its retrainings on the validation images, in %.
    """

    name: str
    run: Run
    accuracy: float
    count: int

    def __str__(self) -> str:
        return f"{self.name}, {self.accuracy:.2f} %, of {self.count} retrained"


def choice(record: Record, out: Path) -> Choice | None:
    """Return the best of what has been retrained; None before any retraining has finished.

    Searches that chose one architecture alike count each, as each was retrained. None as well by a recipe that trains
    on all images where there are test images: it is measured on these alone, and they must not choose.
    """
    config = record.config
    every = [
        (f"{case.label}, seed {seed}", retrainings(case.found(out, seed), config, seed))
        for case in cases(config)
        for seed in config.seeds
    ]
    for case in largest_cases(config):
        runs = [run for seed in config.seeds for run in retrainings(case.baseline(out), config, seed)]
        every.append((case.label, runs))
    found = [(name, runs, _accuracy(runs)) for name, runs in every if runs and all(map(_validated, runs))]
    if not found:
        return None
    name, runs, accuracy = max(found, key=lambda each: each[2])
    return Choice(name, runs[0], accuracy, len(found))


def _validated(run: Run) -> bool:
    return run.finished and run.summary["measured_on"] == "validation"


def _accuracy(runs: list[Run]) -> float:
    return 100 * statistics.fmean(run.summary["accuracy"]["last"] for run in runs)
