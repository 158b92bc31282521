"""The collapse of an architecture: the share of its edges at work that compute with learned weights.

Only operations on a path from the cell's input to its output count; the rest of a cell does nothing. The thresholds are
read off all 15 625 architectures of NAS-Bench-201 (CIFAR-10 test accuracy, 200 epochs): with no learned operation at
work the median is 75.7 %, with 1 of 6 edges 88.8 %, with 2 90.8 %, with 3 92.0 %, with 4 to 6 92.6 to 93.3 %.
`benchmarks/collapse_thresholds.py` prints that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.paths import live_choices
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt
from supernet.spaces.size import NetworkSize

COLLAPSED, THIN = 1 / 4, 1 / 2  # largest share of edges at work with learned weights in each state


@dataclass(frozen=True)
class Verdict:
    """The verdict on an architecture: one word, and the reason."""

    state: Literal["healthy", "thin", "collapsed", "undecided"]
    reason: str

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}"


def verdict(space: SearchSpace, genotype: Genotype) -> Verdict:
    """Return the worst verdict of all kinds of cell.

    Reduction cells, made to pool, count only where there are no others. Kinds of a single edge or of a chain, as the
    positions of a macro space, count together.
    """
    order = ("healthy", "thin", "collapsed")
    groups = _groups(space)
    verdicts = [_verdict(space, name, [(kind, genotype[kind]) for kind in kinds]) for name, kinds in groups.items()]
    return max(verdicts, key=lambda found: order.index(found.state))


def _groups(space: SearchSpace) -> dict[str, list[str]]:
    """Return the kinds of cell that count together, by a name for all of their edges."""
    layers = [placed.layer for placed in space.layout(NetworkSize(*space.target))]
    flat = {layer.kind for layer in layers if isinstance(layer, CellAt) and layer.stride == 1}
    single = [kind for kind, cell in space.cells.items() if cell.is_chain]
    groups = {
        f"edges of '{kind}'": [kind] for kind in space.cells if kind in (flat or space.cells) and kind not in single
    }
    return groups | ({"positions" if len(single) > 1 else f"edges of '{single[0]}'": single} if single else {})


def _verdict(space: SearchSpace, name: str, cells: list[tuple[str, tuple[Choice, ...]]]) -> Verdict:
    choices = [choice for _, cell in cells for choice in cell]
    paths = [live_choices(space, space.cells[kind], cell) for kind, cell in cells]
    learned = sum(space.primitive(choice.op).learned for path in paths for choice in path)
    where = f"{learned} of the {len(choices)} {name}"
    for (kind, _), path in zip(cells, paths, strict=True):
        if not path:
            return Verdict("collapsed", f"no path leads from the input to the output of '{kind}'")
    share = learned / len(choices)
    if share <= COLLAPSED:
        free = ", ".join(sorted({choice.op for choice in choices if not space.primitive(choice.op).learned}))
        few = where.replace("0 of", "none of", 1) if not learned else f"only {where}"
        others = f"are {free} or lead nowhere" if free else "lead nowhere"
        return Verdict("collapsed", f"{few} compute with learned weights; the others {others}")
    state: Literal["healthy", "thin"] = "thin" if share <= THIN else "healthy"
    return Verdict(state, f"{where} compute with learned weights on a path from input to output")
