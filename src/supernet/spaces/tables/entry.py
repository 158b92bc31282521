"""TableEntry: the results of one architecture of a table, ready to print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

TITLES = {"c10": "CIFAR-10", "c100": "CIFAR-100", "in16": "ImageNet16-120"}
"""The titles of the data sets that tables measure, by the prefix of their fields."""

# Of these, a pattern of the name that images of them have, and the number of classes; ten of CIFAR-100 are not CIFAR-10
_SETS = {
    "c10": (r"cifar[\W_]*10(?!\d)", 10),
    "c100": (r"cifar[\W_]*100(?!\d)", 100),
    "in16": (r"image[\W_]*net[\W_]*16", 120),
}


def dataset_of(data_name: str, classes: int) -> str | None:
    """Return the data set of tables (c10, c100, in16) that images are of, None if they are of no such.

    Their name and the number of their classes tell.
    """
    found = ((key, re.search(name, data_name.lower()), count) for key, (name, count) in _SETS.items())
    return next((key for key, named, count in found if named and classes == count), None)


def holds(data_name: str, classes: Sequence[str]) -> bool:
    """Return whether tables measure on these images, as `dataset_of` tells."""
    return dataset_of(data_name, len(classes)) is not None


@dataclass(frozen=True)
class DatasetResult:
    """The results of one architecture on one data set; accuracies are in %, means over the training seeds."""

    dataset: str  # the prefix of the table's fields: c10, c100, in16
    title: str  # for display: CIFAR-10
    valid: float
    test: float
    rank: int  # by test accuracy: 1 is best, ties share the best rank
    best_index: int  # the architecture with the best test accuracy
    best_test: float
    gap: float  # best_test - test, in percentage points
    params_m: float  # millions
    flops_m: float  # millions


@dataclass(frozen=True)
class TableEntry:
    """One architecture of a table, with its results and ranks."""

    table: str
    index: int
    total: int  # the number of architectures of the table
    architecture: str  # the text form
    seeds: int  # the number of trainings that the accuracies are means of
    results: tuple[DatasetResult, ...]

    def __getitem__(self, dataset: str) -> DatasetResult:
        """Return the result on `dataset` (c10, c100, in16); raises KeyError for any other."""
        return {result.dataset: result for result in self.results}[dataset]

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        return asdict(self) | {"results": list(map(asdict, self.results))}
