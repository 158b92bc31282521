"""Batch norm, op weight and the sum into a node as one operation.

It has a gradient, and the gradient has none: second derivatives take the reference engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.models.fused import eager, native
from supernet.models.fused.terms import Term, refuse_a_second_time


def weighted_sums(
    terms: Sequence[Term], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool = False
) -> list[Tensor]:
    """Add to every sum the parts that go into it, each times its weight, and return the sums, changed in place.

        sum_t <- sum_t + sum over parts j into t of weights[j] * normal(value_j)

    This is batch normalisation (Ioffe & Szegedy, 2015) within the mixed operation of DARTS (eq. 2). With g the gradient
    of sum_t and v the normalised value before scale and shift, n numbers per channel:

        dvalue = weight scale rstd (g - sum(g)/n - v sum(g v)/n)       dweight = sum_c (scale sum(g v) + shift sum(g))

    `weights` (parts,) is in the order of the terms and their parts. A sum that is None begins here; some part must go
    into it then. `joined`: all begin here, and come back side by side in one tensor (B, sums * C, H, W).
    """
    learned = [row for term in terms if term.normal for row in term.normal.learned]
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
        run = native if native.usable(terms, values, sums) else eager
        totals, ctx.memo = run.forward(terms, values, weights, sums, joined=joined)
        ctx.began = [total is None for total in sums]
        # Values are kept by autograd alone: it frees them, and whoever hooks what is saved finds them there
        ctx.terms = [Term(weights, term.count, term.targets, term.slots, term.normal) for term in terms]
        ctx.weights, ctx.joined, ctx.run = weights, joined, run
        ctx.save_for_backward(*values, *tensors[count + len(values) :])  # of what is learned, to see if it changes
        ctx.mark_dirty(*(total for total in sums if total is not None))
        return tuple(totals)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_second_time()
        values, count = ctx.saved_tensors[: len(ctx.terms)], len(ctx.began)
        needed = ctx.needs_input_grad[4 + count : 4 + count + len(values)]
        back = ctx.run.backward(ctx.terms, values, ctx.weights, gradients, needed, ctx.memo, joined=ctx.joined)
        of_sums = [None] * count if ctx.joined else _past(ctx.began, gradients)
        weights = back.weights.to(ctx.weights.dtype) if ctx.needs_input_grad[3] else None
        return None, None, None, weights, *of_sums, *back.values, *back.learned


def _past(began: Sequence[bool], gradients: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradients of the sums as they were before."""
    return [None if new else gradient for new, gradient in zip(began, gradients, strict=True)]
