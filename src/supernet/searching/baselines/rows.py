"""The rows of a table of baselines: what each network costs, and what every seed of it has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from supernet.engine.measure import latency
from supernet.engine.records import last_accuracy
from supernet.engine.run import Run
from supernet.engine.seeds import random_state_kept
from supernet.models.network import Network
from supernet.searching.baselines.rivals import Rival
from supernet.searching.baselines.run import Trainings
from supernet.searching.compare.statistics import Difference, difference
from supernet.spaces.genotype import Genotype

Runs = Mapping[str, Mapping[int, Run]]  # by label and seed


@dataclass(frozen=True)
class Trained:
    """One training: the architecture and its cost, and the accuracy in % after the last epoch."""

    architecture: str
    params: int
    flops: int
    accuracy: float


@dataclass(frozen=True)
class Row:
    """One network: its size, the median time of one image in ms, the mean over the seeds, and its trainings by seed.

    `difference` is that of its accuracies from those of the first row by seed, None in the first row.
    """

    label: str
    width: int
    depth: int
    ms: float
    results: Mapping[int, Trained]
    difference: Difference | None = None

    @property
    def accuracies(self) -> dict[int, float]:
        """The accuracy in % by seed, on the test images if there are some."""
        return {seed: result.accuracy for seed, result in self.results.items()}

    @property
    def params(self) -> float:
        """The parameters, the mean over the seeds."""
        return fmean(result.params for result in self.results.values())

    @property
    def flops(self) -> float:
        """The FLOPs, the mean over the seeds."""
        return fmean(result.flops for result in self.results.values())


def row_of(plain: Mapping[str, Any]) -> Row:
    """Return the row that has been written as plain data; raises a Python error if it is none."""
    results = {
        int(seed): Trained(str(it["architecture"]), int(it["params"]), int(it["flops"]), float(it["accuracy"]))
        for seed, it in plain["results"].items()
    }
    against = plain["difference"]
    ends = against and (None if against[name] is None else float(against[name]) for name in ("low", "high"))
    found = against and Difference(int(against["pairs"]), float(against["mean"]), *ends)
    return Row(str(plain["label"]), int(plain["width"]), int(plain["depth"]), float(plain["ms"]), results, found)


def rows(trainings: Trainings, runs: Runs) -> tuple[Row, ...]:
    """Return a row for each network that has been trained, and measure its latency."""
    first, *others = [_row(trainings, rival, runs[rival.label]) for rival in trainings.rivals if runs[rival.label]]
    return first, *(replace(row, difference=difference(row.accuracies, first.accuracies)) for row in others)


def _row(trainings: Trainings, rival: Rival, runs: Mapping[int, Run]) -> Row:
    plan = trainings.plan_of(rival, next(iter(runs)))
    size = plan.network_size
    x = torch.zeros(1, size.channels, *size.image_size, device=plan.device)

    def ms(genotype: Genotype) -> float:
        with random_state_kept():  # a new network draws weights
            network = Network(plan.space, genotype, size)
        return latency(network.eval().to(plan.device), x).median

    genotypes = [rival.genotype(seed) for seed in runs]
    times = {genotype: ms(genotype) for genotype in dict.fromkeys(genotypes)}
    results = {seed: trained(runs[seed]) for seed in trainings.asked.seeds if seed in runs}  # not as they ended
    return Row(rival.label, size.width, size.depth, fmean(times[genotype] for genotype in genotypes), results)


def trained(run: Run) -> Trained:
    """Return what a finished run has reached."""
    summary = run.summary
    return Trained(summary["architecture"], summary["params"], summary["flops"], 100 * last_accuracy(summary))
