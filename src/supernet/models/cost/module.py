"""The cost of one module for one image, counted by running the module.

FLOPs are those of the field's tables: one per multiply-add of a convolution, a linear layer or another product of
matrices, and one per bias of a linear layer. Batch norm, pooling and additions count nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supernet.errors import UserError
from supernet.spaces.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cost:
    """Learnable parameters, and FLOPs for one image.

    `values` is the smallest number of values per channel of one image that a batch norm gets.
    """

    params: int = 0
    flops: int = 0
    values: float = field(default=math.inf, compare=False, repr=False)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.flops + other.flops, min(self.values, other.values))


def count(build: Callable[[], nn.Module], shape: Shape) -> tuple[Cost, tuple[int, ...]]:
    """Return the cost of the module that `build` makes, and the shape of its output for one image of `shape`.

    The module is made and run on the CPU, where every module of a user's works, and leaves the random state as it was.
    Raises whatever the module raises, and UserError if it writes over its input, and for NaN and another number format.
    """
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.module import register_module_forward_pre_hook

    from supernet.engine.flops import FlopCounter
    from supernet.engine.seeds import random_state_kept

    # Without gradients, or in inference mode, PyTorch takes shortcuts that are single operations without a formula.
    with torch.device("cpu"), torch.inference_mode(False), torch.enable_grad(), random_state_kept():
        module = build()
        module.eval()  # in training mode, batch norm refuses a single pixel
        values: list[float] = [math.inf]

        def see(part: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if isinstance(part, _BatchNorm):
                values.append(inputs[0].numel() // inputs[0].shape[1])

        with register_module_forward_pre_hook(see), FlopCounter() as counter:  # type: ignore[no-untyped-call]
            # Not zeros, of which a module that divides by their norm makes NaN, and one that takes logarithms may not
            image = torch.randn(
                1, shape.channels, shape.height, shape.width, generator=torch.Generator().manual_seed(0)
            )
            version = image._version
            output = module(image)
    if image._version != version:
        raise UserError("it writes over its input, which other operations read, too")
    if output.dtype != image.dtype:
        found, needed = (str(x.dtype).removeprefix("torch.") for x in (output, image))
        raise UserError(f"it gives {found} where {needed} is needed")
    if output.isnan().any():
        raise UserError("it gives NaN for ordinary numbers")
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    biases = sum(m.out_features for m in module.modules() if isinstance(m, nn.Linear) and m.bias is not None)
    return Cost(params, counter.total // 2 + biases, min(values)), tuple(output.shape)
