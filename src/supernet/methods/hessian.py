"""The Hessian of the validation loss with respect to the alphas, and its largest eigenvalue.

R-DARTS (Zela et al., ICLR 2020, arXiv 1909.09656): where this eigenvalue grows during a search, the architecture that
is read out of the supernet becomes worse.

    H = d^2 L(w, alpha; B) / dalpha dalpha^T      (D, D), all alphas of all kinds of cell, in the order of `Alphas.flat`
    eigenvalue = max eig((H + H^T) / 2)

H is computed in full: one backward pass for the gradient and one through it for each of the D alphas. The loss is the
method's own; the weight decay of alpha is not in it. Batch norm uses the statistics of the batch, as in training.
Other architecture parameters (`Alphas.fixed`), weights and running statistics do not change, and random operations draw
the same numbers in every measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.process_group import alone
from supernet.engine.processes import averaged
from supernet.engine.seeds import seed_of, seeded
from supernet.errors import UserError
from supernet.methods.alphas import Alphas
from supernet.methods.base import Method
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet, traceless


def alphas_of(method: Method) -> Alphas:
    """Return the alphas of a method; raises UserError if it has none."""
    alphas = getattr(method, "alphas", None)
    if not isinstance(alphas, Alphas):
        raise UserError(f"monitor hessian needs a method with alphas: {type(method).__name__} has none to monitor")
    return alphas


def relaxed(method: Method) -> tuple[list[Tensor], Mix]:
    """Return alphas, and the mix that depends on them: the method's own, or their relaxation if its own is of paths."""
    alphas, mix = alphas_of(method), method.mix()
    if any(edges.weights.requires_grad for edges in mix.values()):
        return list(alphas.values()), mix
    values = {kind: alpha.detach().clone().requires_grad_() for kind, alpha in alphas.items()}
    return list(values.values()), alphas.mix(values)


def hessian(method: Method, batch: Batch) -> Tensor:
    """Return the Hessian (D, D) of the method's loss on `batch`, float64 on the CPU; raises UserError without alphas.

    The supernet must be in training mode. Its passes grow by one for each number of the alphas, and one for the loss.
    """
    masks, supernet = list(alphas_of(method).masks.values()), method.supernet
    values, mix = relaxed(method)

    def flat(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part[mask] for part, mask in zip(parts, masks, strict=True)])

    weights = {name: weight.detach() for name, weight in supernet.named_parameters()}
    with alone(), _twice_differentiable(supernet), seeded(seed_of(method.budget.seed, "hessian"), method.device):
        loss = method.loss(traceless(supernet, batch.x, mix, weights), batch.y)
        slopes = flat(torch.autograd.grad(loss, values, create_graph=True, materialize_grads=True))
        rows = [torch.autograd.grad(slope, values, retain_graph=True, materialize_grads=True) for slope in slopes]
    supernet.passes += len(rows)
    return averaged([torch.stack([flat(row) for row in rows]).double().cpu()])[0]  # one batch: equal but for rounding


def largest_eigenvalue(matrix: Tensor) -> float:
    """Return the largest eigenvalue of the symmetric part of a matrix (D, D); NaN if not all of it is finite."""
    return torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1].item() if matrix.isfinite().all() else math.nan


def eigenvalue(method: Method) -> float:
    """Return the largest eigenvalue on the first batch of validation images, which is the same every time.

    It is NaN if the loss is not finite. Raises UserError for a method without alphas.
    """
    return largest_eigenvalue(hessian(method, next(iter(method.budget.validation_batches()))))


@contextmanager
def _twice_differentiable(supernet: Supernet) -> Iterator[None]:
    """Run the reference engine, since the fused one has first derivatives only."""
    engine, supernet.engine = supernet.engine, "reference"
    try:
        yield
    finally:
        supernet.engine = engine
