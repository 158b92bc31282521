"""The spaces of NAO (Luo, Tian, Qin, Chen & Liu, NeurIPS 2018), as in its released weight-sharing code.

A cell reads the two preceding cells. Each of its five nodes sums two branches; a branch applies one operation to any
earlier node, and both branches may read the same node. The output is the concatenation of all nodes, inputs included,
that no branch reads. Two kinds of cell are searched: normal cells, and reduction cells at one and two thirds of the
depth. An input passes a 1x1 convolution only if its channels differ from the cell's, and a factorised reduction if it
has twice the resolution.

In the supernet every edge has operations of its own: one set of weights per node, branch and source node. Unlike in the
released code, each edge also has its own running statistics of batch norm.

The operations are in the order of the authors' numbers for an architecture.
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
NAO_MIDDLE = _space("nao-middle", MIDDLE, "nao with 10 operations, one of them none")
