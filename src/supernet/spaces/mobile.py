"""A macro space of inverted residual blocks, in the stages of MobileNetV2 (Sandler et al., CVPR 2018).

Each of the 22 blocks of ProxylessNAS' and FBNet's networks is searched on its own:

    stage             1   2    3   4   5   6    7
    channels / width  1   1.5  2   4   6   10   20
    stride            1   2    2   2   1   2    1
    blocks            1   4    4   4   4   4    1

A stage is a cell whose nodes form a chain. Its blocks have kernel 3, 5 or 7, expansion 3 or 6, and
squeeze-and-excitation or not, as in FBNetV2 and MnasNet; stage 1 does not expand. A block that keeps its shape, any but
the first of a stage, may be left out (`skip_connect`). Stem and head have 2 and 80 times the width in channels.

With width 16, kernel 3, expansion 6 and 1, 2, 3, 4, 3, 3, 1 blocks, a network is MobileNetV2 for ImageNet, with its
3 504 872 parameters and 300 775 272 FLOPs (1 000 of which are the classifier's biases).

Deliberate differences from it: ReLU in place of ReLU6, as in FBNet; none behind the stem, whose batch norm the first
block reads; and channels that are rounded to whole numbers, not to multiples of 8. In supernets, the candidates of
a block are slices of one set of weights, as in Single-Path NAS and BigNAS (see `supernet.models.slices`); ProxylessNAS
and FBNet give each weights of its own. The width of a stage is no choice.
"""

from __future__ import annotations

from supernet.spaces.cell import Cell, Edge
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.skeleton import MobileStages, Position

_GATES = ("", "_se")
WHOLE = tuple(f"mb1_k{kernel}{gate}" for gate in _GATES for kernel in (3, 5, 7))
EXPANDED = tuple(f"mb{expand}_k{kernel}{gate}" for gate in _GATES for expand in (3, 6) for kernel in (3, 5, 7))
_STAGES = ((1, 1, 1), (1.5, 2, 4), (2, 2, 4), (4, 2, 4), (6, 1, 4), (10, 2, 4), (20, 1, 1))  # channels, stride, blocks


def _stage(number: int, blocks: int) -> Cell:
    first = EXPANDED if number > 1 else WHOLE
    return Cell(tuple(Edge(n + 1, n, ("skip_connect", *first) if n else first) for n in range(blocks)))


MOBILE = SearchSpace(
    "mobile",
    {f"stage{number}": _stage(number, blocks) for number, (_, _, blocks) in enumerate(_STAGES, 1)},
    MobileStages(tuple(Position(f"stage{n}", channels, stride) for n, (channels, stride, _) in enumerate(_STAGES, 1))),
    sliced=True,
    target=(16, 1),
    summary="macro space, 7 stages, 22 inverted residual blocks, each searched on its own; 13 operations",
    paper="Sandler et al., CVPR 2018, arXiv 1801.04381; Cai, Zhu & Han, ICLR 2019, arXiv 1812.00332",
)
