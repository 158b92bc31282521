"""The rows of a comparison: what every case has found with each seed, read from its run folders."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from supernet.engine.records import last_accuracy
from supernet.engine.run import Run
from supernet.models.cost.count import largest
from supernet.searching.compare.cases import Case, cases, largest_cases
from supernet.searching.compare.commands import retrained_folders
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.statistics import Difference, difference
from supernet.searching.select import FOLDER, folder_name
from supernet.spaces import SearchSpace, space, tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables.entry import dataset_of


@dataclass(frozen=True)
class Result:
    """What one seed has found; accuracies are in %, and None where there is none.

    - `accuracy`: as the comparison's measure says (see `measured_by`).
    - `measured`: "supernet", "path" or "alone", of what it is on validation images; None by a table.
    - `retrained`: the mean test accuracy of the retrainings, validation accuracy without test images.
    - `passes`, `seconds`: of the search and of its selection.
    """

    architecture: str
    accuracy: float | None
    retrained: float | None
    collapsed: bool = False
    passes: int = 0
    seconds: float = 0.0
    measured: str | None = None


@dataclass(frozen=True)
class Row:
    """What one case has found in a space, by seed, each retrained `retrainings` times.

    `searched` is false for a baseline.
    """

    label: str
    space: str
    results: Mapping[int, Result]
    retrainings: int = 0
    searched: bool = True

    @cached_property
    def accuracy(self) -> dict[int, float]:
        """The accuracy by seed, where there is one."""
        found = {seed: result.accuracy for seed, result in self.results.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    @cached_property
    def retrained(self) -> dict[int, float]:
        """The retrained accuracy by seed, where there is one."""
        found = {seed: result.retrained for seed, result in self.results.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def apart(self, kind: str) -> dict[int, float]:
        """Return the values of a kind, "accuracy" or "retrained", by seed, as far as each was measured by itself.

        The accuracy of a row without a search is of one architecture and the same for all seeds: the first alone.
        """
        values: dict[int, float] = getattr(self, kind)
        return values if self.searched or kind == "retrained" else dict(list(values.items())[:1])

    def against(self, baseline: Row) -> Difference | None:
        """Return the difference from a baseline: of the retrained accuracy, if the comparison retrains.

        None between accuracies of different kinds: of a supernet, of a path in it, of an architecture alone.
        """
        if self.retrainings:
            return difference(self.retrained, baseline.retrained)
        if self._measured != baseline._measured:
            return None
        return difference(self.accuracy, baseline.accuracy)

    @property
    def _measured(self) -> set[str | None]:
        return {self.results[seed].measured for seed in self.accuracy}


def measured_by(record: Record) -> str | None:
    """Return the field of the space's table that measures an architecture; None without a table of these images.

    Of several spaces, which are an axis, all have to be in one table.
    """
    found = {space(case.space(record.config)).table for case in largest_cases(record.config)}
    if None in found or len(found) > 1:
        return None
    name = dataset_of(record.data_name, record.classes)
    return None if name is None else f"{name}_test"


def rows(record: Record, out: Path) -> list[Row]:
    """Return a row for every case that has a finished run, and for the largest cell of every space."""
    config, measure = record.config, measured_by(record)
    found = [_row(case, config, out, measure) for case in cases(config)]
    unsearched = [_largest_row(case, config, out, measure) for case in largest_cases(config)]
    return [*(row for row in found if row.results), *unsearched]


def _row(case: Case, config: ComparisonConfig, out: Path, measure: str | None) -> Row:
    home = space(case.space(config))
    results: dict[int, Result] = {}
    for seed in config.seeds:
        searched, found = Run(case.folder(out, seed)), Run(case.found(out, seed))
        if searched.finished and found.finished:
            parts = _parts(searched, found)
            accuracy, kind = (_known(home, measure, found.genotype), None) if measure else _validation(searched, found)
            results[seed] = Result(
                architecture=found.summary["architecture"],
                accuracy=accuracy,
                retrained=_retrained(found.path, config, seed),
                collapsed=found.verdict.startswith("collapsed"),
                passes=sum(part.summary.get("forward_backward", 0) for part in parts),
                seconds=sum(_seconds(part) for part in parts),
                measured=kind,
            )
    return Row(case.label, case.space(config), results, config.trainings)


def _parts(searched: Run, found: Run) -> list[Run]:
    """Return the runs that an architecture has cost: its search, and the selection that read it out."""
    config = searched.config
    name = folder_name(str(config["selector"]), len(searched.metrics), config["epochs"])
    own = Run(searched.path / FOLDER / name if found.path == searched.path else found.path)
    return [searched, own] if own.path != searched.path and own.path.exists() and own.finished else [searched]


def _seconds(run: Run) -> float:
    return float(run.summary["seconds"]) + float(run.summary.get("evaluation_seconds", 0.0))


def _known(home: SearchSpace, measure: str, genotype: Genotype) -> float:
    table = tables.load(str(home.table))
    return float(table.column(measure)[table.index(genotype)])


def _validation(searched: Run, found: Run) -> tuple[float | None, str | None]:
    """Return the accuracy on validation images that a search or a selection of it ended with, and of what it is.

    None without any. That of the supernet is the search's own, and says nothing of what a selection has chosen.
    """
    measured = found.summary.get("measured")
    if not measured or measured["images"] != "validation":
        return None, None
    kind = measured.get("of", "supernet")
    if kind == "supernet" and found.path != searched.path:
        return None, None
    return 100 * float(measured["accuracy"]), kind


def retrainings(folder: Path, config: ComparisonConfig, seed: int) -> list[Run]:
    """Return the retrainings, finished or not, with the seeds of a search, of the architecture in a folder."""
    return [Run(folder / name) for name in retrained_folders(config, seed)]


def _retrained(folder: Path, config: ComparisonConfig, seed: int) -> float | None:
    """Return the mean accuracy of all retrainings, None before all of them have finished."""
    runs = retrainings(folder, config, seed)
    if not runs or not all(run.finished for run in runs):
        return None
    return 100 * statistics.fmean(last_accuracy(run.summary) for run in runs)


def _largest_row(case: Case, config: ComparisonConfig, out: Path, measure: str | None) -> Row:
    """Return the row of a largest cell, which needs no search, and is retrained with each seed of the searches."""
    home, folder = space(case.space(config)), case.baseline(out)
    cell = largest(home)
    known = _known(home, measure, cell) if measure else None
    results = {seed: Result(str(cell), known, _retrained(folder, config, seed)) for seed in config.seeds}
    return Row(case.label, case.space(config), results, config.trainings, searched=False)
