"""NAS-Bench-201 with two candidates on each edge, a skip connection and a 3x3 convolution: like S2, with its truth.

    PYTHONPATH=benchmarks supernet compare benchmarks/small_cifar.yaml --methods darts,single-darts,darts+perturbation \
        --space skip_or_conv:SPACE --seeds 0-4 --out comparisons/skip-or-conv

S2 of Zela et al. (2020) has a skip connection and a 3x3 separable convolution on every edge, and DARTS is known to fill
it with skips. Here the 64 architectures are among those of the table, so their accuracies are known.
"""

from __future__ import annotations

from dataclasses import replace

import supernet as sn

_WHOLE = sn.space("nasbench201")
_OPS = ("skip_connect", "nor_conv_3x3")
_COLUMNS = {kind: [[edge.ops.index(op) for op in _OPS] for edge in cell.edges] for kind, cell in _WHOLE.cells.items()}

SPACE = replace(_WHOLE.narrowed(_COLUMNS), name="skip-or-conv")
