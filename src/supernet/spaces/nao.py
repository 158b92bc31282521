"""The spaces of NAO (Luo, Tian, Qin, Chen & Liu, NeurIPS 2018), as its released weight-sharing code has them.

A cell reads the two cells before it; each of its five nodes has two branches, each of which reads any earlier node
through one operation, and sums them. Both may read the same node. The output is all nodes, inputs included, that no
branch reads, side by side. Two kinds are searched: normal, and reduction at one and two thirds of the depth. An input
passes a convolution only if it has other channels than the cell, and a factorised reduction if it has twice the
resolution.

In the supernet every edge has operations of its own, so that there is one set of weights for each node, branch and node
that is read; unlike in released code, the running statistics of batch norm are each edge's own, too.

The order of the operations is that of the numbers which the authors write an architecture with.
"""

from __future__ import annotations

from supernet.spaces.cell import Cell
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.skeleton import Stack

OPS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")
MIDDLE = (
    *("none", "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"),
    *("dil_conv_3x3", "dil_conv_5x5", "dil_conv_7x7", "avg_pool_3x3", "max_pool_3x3"),
)


def _space(name: str, ops: tuple[str, ...], summary: str) -> SearchSpace:
    cell = Cell.dense(7, ops, inputs=2, output="unused", project="calibrate", branches=2)
    paper = "Luo et al., NeurIPS 2018, arXiv 1808.07233"
    return SearchSpace(name, {"normal": cell, "reduce": cell}, Stack(), target=(36, 6), summary=summary, paper=paper)


NAO = _space("nao", OPS, "two inputs, 5 nodes of two branches, 5 operations; normal and reduction cell")
NAO_MIDDLE = _space("nao-middle", MIDDLE, "nao with 10 operations, none among them")
