"""The table of NAS-Bench-201: 15 625 architectures with accuracies, costs and latencies measured on devices.

Accuracies, times and architecture order: NAS-Bench-201 / NATS-Bench (Dong & Yang 2020; Dong et al. 2021), MIT.
Device measurements: HW-NAS-Bench (Li et al. 2021), MIT, and HELP (Lee et al. 2021), MIT. See NOTICE.
The file beside this module is packed by `scripts/pack_nasbench201.py`.
"""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError, shown, unknown
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables.entry import TITLES, DatasetResult, TableEntry
from supernet.spaces.tables.table import Table

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (target, source)
_PLACE_VALUES = [len(OPS) ** power for power in reversed(range(len(EDGES)))]


class NasBench201(Table):
    """The table, in the benchmark's own order of architectures."""

    def __init__(self) -> None:
        super().__init__("nasbench201", files("supernet.spaces.tables") / "nasbench201.npz")

    def __reduce__(self) -> tuple[type[NasBench201], tuple[()]]:
        """Let copies and other processes read the file again."""
        return type(self), ()

    def index(self, genotype: Genotype) -> int:
        """Return the index of `genotype`; the name of its space is ignored.

        Raises UserError unless the genotype has one cell with one of the benchmark's operations on each of six edges.
        """
        if not isinstance(genotype, Genotype):
            raise UserError(f"an index is that of a Genotype, not of {shown(repr(genotype))}: let a space parse a text")
        cell = genotype.cells[0][1] if len(genotype.cells) == 1 else ()
        if tuple((choice.target, choice.source) for choice in cell) != EDGES:
            edges = ", ".join(f"{target}<-{source}" for target, source in EDGES)
            raise UserError(f"{self.name} has no architecture '{genotype}': expected one operation on each of {edges}")
        code = sum(place * _op_id(choice.op) for place, choice in zip(_PLACE_VALUES, cell, strict=True))
        return int(self._index_of[code])

    def genotype(self, index: int) -> Genotype:
        """Return the architecture with this index; raises UserError if there is none."""
        code = int(self._codes[self.check(index)])
        ops = [OPS[code // place % len(OPS)] for place in _PLACE_VALUES]
        return Genotype.of(self.name, {"cell": [(*edge, op) for edge, op in zip(EDGES, ops, strict=True)]})

    def summary(self, index: int) -> TableEntry:
        """Return the results of the architecture with this index; raises UserError if there is none."""
        architecture = str(self.genotype(index))
        results = tuple(self._result(dataset, title, index) for dataset, title in TITLES.items())
        seeds = int(self.column("n_seeds")[index])
        return TableEntry(self.name, int(index), len(self), architecture, seeds, results)

    def _result(self, dataset: str, title: str, index: int) -> DatasetResult:
        test = self.column(f"{dataset}_test")
        best = self.best(f"{dataset}_test")
        return DatasetResult(
            dataset=dataset,
            title=title,
            valid=float(self.column(f"{dataset}_valid")[index]),
            test=float(test[index]),
            rank=self.rank(f"{dataset}_test", index),
            best_index=best,
            best_test=float(test[best]),
            gap=round(float(test[best] - test[index]), 5),  # the benchmark prints five digits
            params_m=float(self.column(f"{dataset}_params_m")[index]),
            flops_m=float(self.column(f"{dataset}_flops_m")[index]),
        )

    @cached_property
    def _codes(self) -> NDArray[np.integer]:
        """The operations of every architecture as a number of six digits in base 5, in the order of EDGES."""
        return self._numbers(["ops"])["ops"]

    @cached_property
    def _index_of(self) -> NDArray[np.integer]:
        """The index of every code: the codes are a permutation, and argsort gives its inverse."""
        return np.argsort(self._codes)


def _op_id(op: str) -> int:
    if op not in OPS:
        raise unknown("nasbench201 operation", op, OPS)
    return OPS.index(op)
