"""The DARTS space (Liu, Simonyan & Yang, 2019) and its subspaces S1 to S4 (Zela et al., R-DARTS, 2020).

A cell reads the two preceding cells; each of its four nodes has an edge from every earlier node, of which an
architecture keeps two; the output is the concatenation of the four nodes. Two kinds of cell are searched: normal cells,
and reduction cells at one and two thirds of the depth. `none` is a candidate in the supernet but not in architectures;
`noise` (S4) is one in both.

The candidates of S1, two per edge, are those that the authors of R-DARTS found. In `darts7-fair` (FairDARTS,
Chu et al., 2020) a node keeps two edges at most; one without any is zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from supernet.spaces.cell import Cell, Edge
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.skeleton import Stack

OPS = (
    *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
    *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
)
_EDGES = tuple((target, source) for target in range(2, 6) for source in range(target))
_NAMES = {"max": OPS[1], "avg": OPS[2], "skip": OPS[3], "sep3": OPS[4], "dil3": OPS[6], "dil5": OPS[7]}


def _cell(candidates: Sequence[Sequence[str]], keep: int | tuple[int, int] = 2) -> Cell:
    edges = tuple(Edge(t, s, tuple(ops)) for (t, s), ops in zip(_EDGES, candidates, strict=True))
    return Cell(edges, inputs=2, output="concat", keep=keep, project=True)


def _space(name: str, normal: Cell, reduce: Cell, summary: str, paper: str) -> SearchSpace:
    cells = {"normal": normal, "reduce": reduce}
    return SearchSpace(name, cells, Stack(), norm_pools=True, target=(36, 6), summary=summary, paper=paper)


def _uniform(name: str, ops: Sequence[str], summary: str, paper: str, keep: int | tuple[int, int] = 2) -> SearchSpace:
    cell = _cell([ops] * len(_EDGES), keep)
    return _space(name, cell, cell, summary, paper)


def _pairs(*pairs: str) -> Cell:
    """Build a cell of S1 from the short names of two candidates per edge, in the order of _EDGES."""
    return _cell([[_NAMES[op] for op in pair.split()] for pair in pairs])


_S1_NORMAL = _pairs(
    *("skip dil3", "skip dil5", "skip dil5", "skip sep3", "skip dil3", "max skip", "skip sep3"),
    *("skip sep3", "skip dil3", "skip sep3", "max skip", "skip dil3", "dil3 dil5", "dil3 dil5"),
)
_S1_REDUCE = _pairs(
    *("max avg", "max dil3", "max avg", "max avg", "skip dil5", "max avg", "max sep3"),
    *("skip dil3", "skip dil5", "max avg", "max avg", "skip dil5", "skip dil5", "skip dil5"),
)
_DARTS, _ROBUST = "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055", "Zela et al., ICLR 2020, arXiv 1909.09656"

_FAIR = "Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126"

DARTS = _uniform("darts", OPS, "two inputs, 4 nodes, 14 edges, 8 operations; normal and reduction cell", _DARTS)
DARTS7 = _uniform("darts7", OPS[1:], "darts without the candidate none, as DARTS-PT and ZARTS search it", _DARTS)
DARTS7_FAIR = _uniform("darts7-fair", OPS[1:], "darts7 with 0 to 2 edges kept per node", _FAIR, keep=(0, 2))
S1 = _space("s1", _S1_NORMAL, _S1_REDUCE, "darts, a pair of candidates chosen for each edge", _ROBUST)
S2 = _uniform("s2", ("skip_connect", "sep_conv_3x3"), "darts, skip_connect and sep_conv_3x3 only", _ROBUST)
S3 = _uniform("s3", ("none", "skip_connect", "sep_conv_3x3"), "s2 with the candidate none", _ROBUST)
S4 = _uniform("s4", ("noise", "sep_conv_3x3"), "darts, sep_conv_3x3 and an operation that outputs noise", _ROBUST)
