"""NAS-Bench-201 (Dong & Yang, ICLR 2020): 4 nodes, 6 edges, 5 operations, 15 625 architectures, all of them tabulated.

Operations and edges are in the benchmark's order; the edges are 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2.
"""

from __future__ import annotations

from supernet.spaces.cell import Cell
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.skeleton import Stages

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

NASBENCH201 = SearchSpace(
    name="nasbench201",
    cells={"cell": Cell.dense(4, OPS)},
    skeleton=Stages(("cell", "cell", "cell")),
    table="nasbench201",
    summary="4 nodes, 6 edges, 5 operations: 15 625 cells, every accuracy known",
    paper="Dong & Yang, ICLR 2020, arXiv 2001.00326",
)
