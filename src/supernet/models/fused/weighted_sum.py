"""Batch normalisation, op weight and the sum into a node as one operation, with first derivatives only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.models.fused import eager, native
from supernet.models.fused.terms import Term, refuse_second_derivatives


def weighted_sums(
    terms: Sequence[Term], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool = False
) -> list[Tensor]:
    """Add every part, times its weight, to its sum, and return the sums, changed in place.

        sum_t <- sum_t + sum over parts j into t of weights[j] * normalised(value_j)

    This is batch normalisation (Ioffe & Szegedy, 2015) within the mixed operation of DARTS (eq. 2). With g the gradient
    of sum_t, v the normalised value before scale and shift, and n the numbers per channel:

        dvalue = weight scale rstd (g - sum(g)/n - v sum(g v)/n)       dweight = sum_c (scale sum(g v) + shift sum(g))

    `weights` (parts,) follows the order of the terms and their parts. A sum that is None starts here, and then some
    part must be added to it. `joined`: all sums start here and are returned side by side, (B, sums * C, H, W).
    """
    learned = [row for term in terms if term.normalisation for row in term.normalisation.learned]
    values = [term.value for term in terms]
    inputs = (weights, *sums, *values, *learned)
    out: tuple[Tensor, ...] = _WeightedSums.apply(tuple(terms), joined, len(sums), *inputs)  # type: ignore[no-untyped-call]
    return list(out)


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, terms: tuple[Term, ...], joined: bool, count: int, weights: Tensor, *tensors: Tensor | None
    ) -> Any:
        sums, values = tensors[:count], [term.value for term in terms]
        ctx.kernels = native if native.usable(terms, values, sums) else eager
        totals, ctx.memo = ctx.kernels.forward(terms, values, weights, sums, joined=joined)
        ctx.starts = [total is None for total in sums]
        # Only autograd holds the values, so that it can free them and hooks on saved tensors see them
        ctx.terms = [Term(weights, term.count, term.targets, term.slots, term.normalisation) for term in terms]
        ctx.weights, ctx.joined = weights, joined
        ctx.save_for_backward(*values, *tensors[count + len(values) :])  # learned rows: to detect changes in place
        ctx.mark_dirty(*(total for total in sums if total is not None))
        return tuple(totals)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        values, count = ctx.saved_tensors[: len(ctx.terms)], len(ctx.starts)
        needed = ctx.needs_input_grad[4 + count : 4 + count + len(values)]
        found = ctx.kernels.backward(ctx.terms, values, ctx.weights, gradients, needed, ctx.memo, joined=ctx.joined)
        of_sums: list[Tensor | None] = [None] * count  # also of a sum that started here
        if not ctx.joined:
            of_sums = [None if start else gradient for start, gradient in zip(ctx.starts, gradients, strict=True)]
        weights = found.weights.to(ctx.weights.dtype) if ctx.needs_input_grad[3] else None
        return None, None, None, weights, *of_sums, *found.values, *found.learned
