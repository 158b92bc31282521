"""The cost of one module for one image, counted by running the module.

FLOPs are those of the field's tables: one per multiply-add of a convolution, a linear layer or another product of
matrices, and one per bias of a linear layer. Batch norm, pooling and additions count nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet.spaces.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cost:
    """Learnable parameters, and FLOPs for one image."""

    params: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.flops + other.flops)


def count(build: Callable[[], nn.Module], shape: Shape) -> tuple[Cost, tuple[int, ...]]:
    """Return the cost of the module that `build` makes, and the shape of its output for one image of `shape`.

    The module is made and run on the CPU, where every module of a user's works, and leaves the random state as it was.
    Raises whatever the module raises.
    """
    import torch
    from torch import nn

    from supernet.engine.flops import FlopCounter
    from supernet.engine.seeds import random_state_kept

    # Without gradients, or in inference mode, PyTorch takes shortcuts that are single operations without a formula.
    with torch.device("cpu"), torch.inference_mode(False), torch.enable_grad(), random_state_kept():
        module = build()
        module.eval()  # in training mode, batch norm refuses a single pixel
        with FlopCounter() as counter:  # type: ignore[no-untyped-call]
            output = module(torch.zeros(1, shape.channels, shape.height, shape.width))
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    biases = sum(m.out_features for m in module.modules() if isinstance(m, nn.Linear) and m.bias is not None)
    return Cost(params, counter.total // 2 + biases), tuple(output.shape)
