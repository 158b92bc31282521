"""The gradient of alpha through one step of the weights (DARTS, Liu, Simonyan & Yang, 2019, eqs. 6 to 8).

w' = w - xi (momentum * buffer + dL1(w)/dw + decay * w)          L1 on the weights' batch, xi = their learning rate
gradient = dL2(w')/dalpha - xi * [dL1(w + R v)/dalpha - dL1(w - R v)/dalpha] / (2 R)
v = dL2(w')/dw',   R = 0.01 / ||v||                              L2 on alpha's batch

The unrolled step has plain momentum, even if the weights themselves take steps with Nesterov momentum.

All passes of L1 run in float32, whatever the supernet's precision: R v moves a weight by about 1e-5, which TF32 and
bfloat16 round away. The pass of L2 runs in the supernet's precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import momentum_of
from supernet.engine.precision import products
from supernet.engine.processes import averaged
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet, traceless


def unrolled_gradient(
    supernet: Supernet,
    mix: Callable[[], Mix],
    alphas: Sequence[Tensor],
    optimizer: torch.optim.SGD,
    weight_batch: Batch,
    alpha_batch: Batch,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    draws: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[Tensor, ...]:
    """Return the second-order gradient of `alphas`; weights, running statistics and optimizer do not change.

    `loss_of` maps logits (B, classes) and labels (B,) to the loss. All passes on the weights' batch run within `draws`:
    if operations draw random numbers, only a context in which they draw the same ones makes L1 one function.
    """
    names, weights = zip(*((n, w) for n, w in supernet.named_parameters() if w.requires_grad), strict=True)
    group = optimizer.param_groups[0]
    xi = group["lr"]

    def loss(values: Sequence[Tensor], batch: Batch) -> Tensor:
        logits = traceless(supernet, batch.x, mix(), dict(zip(names, values, strict=True)))
        return loss_of(logits, batch.y)

    def gradient(value: Tensor, of: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return averaged(torch.autograd.grad(value, of, materialize_grads=True))  # zeros for a node that is not read

    def inner(values: Sequence[Tensor], of: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with _in_float32(supernet):  # forward and backward
            with draws():
                value = loss(values, weight_batch)
            return gradient(value, of)

    def shifted(directions: Sequence[Tensor], scale: float | Tensor) -> list[Tensor]:
        return [w.detach() + scale * d for w, d in zip(weights, directions, strict=True)]

    slopes = inner(weights, weights)
    direction = [
        d + group["weight_decay"] * w.detach() + group["momentum"] * _momentum(optimizer, w)
        for d, w in zip(slopes, weights, strict=True)
    ]
    ahead = [w.requires_grad_() for w in shifted(direction, -xi)]
    gradients = gradient(loss(ahead, alpha_batch), [*alphas, *ahead])
    direct, v = gradients[: len(alphas)], gradients[len(alphas) :]

    radius = 0.01 / torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in v]))
    plus = inner(shifted(v, radius), alphas)
    minus = inner(shifted(v, -radius), alphas)
    return tuple(a - xi * (p - m) / (2 * radius) for a, p, m in zip(direct, plus, minus, strict=True))


@contextmanager
def _in_float32(supernet: Supernet) -> Iterator[None]:
    """Run passes of the supernet in float32, and restore its precision."""
    precision, supernet.precision = supernet.precision, "float32"
    try:
        with products("float32"):
            yield
    finally:
        supernet.precision = precision


def _momentum(optimizer: torch.optim.SGD, weight: Tensor) -> Tensor | float:
    buffer = momentum_of(optimizer, weight)
    return 0.0 if buffer is None else buffer
