"""The weighted sums by PyTorch's own operations, for any device, type and memory format."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.models.fused.terms import Gradients, Normalisation, Rows, Term, split_weights

Statistics = tuple[Tensor, Tensor]
"""Mean and 1/sqrt(variance + eps), (parts, C) each."""


def forward(
    terms: Sequence[Term], values: Sequence[Tensor], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool
) -> tuple[list[Tensor], list[Statistics | None]]:
    """Return the sums, changed in place, and each term's statistics for `backward`."""
    statistics = [
        _statistics(term, z, term.normalisation) if term.normalisation else None
        for term, z in zip(terms, values, strict=True)
    ]
    products: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sums]
    constants: list[list[Tensor]] = [[] for _ in sums]
    for term, value, weight, rows in zip(terms, values, split_weights(terms, weights), statistics, strict=True):
        factors, added = _factors(term.normalisation, weight, rows, value.dtype)
        for j, (part, target) in enumerate(zip(term.parts(value), term.targets, strict=True)):
            products[target].append((part, factors[j]))
            if added is not None:
                constants[target].append(added[j])
    totals = [_total(*parts) for parts in zip(sums, products, constants, strict=True)]
    return [torch.cat(totals, 1)] if joined else totals, statistics


def backward(
    terms: Sequence[Term],
    values: Sequence[Tensor],
    weights: Tensor,
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
    statistics: Sequence[Statistics | None],
    *,
    joined: bool,
) -> Gradients:
    """Return the gradients of the terms, from those of the sums."""
    if joined:
        gradients = gradients[0].chunk(1 + max(target for term in terms for target in term.targets), 1)
    of_sums, of_weights, result = _SumGradients(gradients), [], Gradients(weights)
    parts = zip(terms, values, split_weights(terms, weights), needed, statistics, strict=True)
    for term, value, weight, need, rows in parts:
        of_weight, of_value, of_learned = (
            _plain_gradients(term, value, weight, of_sums)
            if rows is None
            else _normalised_gradients(term, value, weight, of_sums, rows)
        )
        of_weights.append(of_weight)
        result.values.append(of_value if need else None)
        result.learned += of_learned
    result.weights = torch.cat(of_weights)
    return result


def _statistics(term: Term, z: Tensor, normalisation: Normalisation) -> Statistics:
    """Return the mean and 1/std of every part, and update the running statistics."""
    if not normalisation.batch_statistics:
        assert normalisation.running is not None
        mean, variance = (torch.stack(rows) for rows in normalisation.running)
        return mean, torch.rsqrt(variance + normalisation.eps)
    count = z.numel() // z.shape[1]
    mean = _totals(z) / count
    centred = z - _channels(mean, z.dtype)  # E[z^2] - E[z]^2 would lose its digits where the mean is large
    variance = _totals(centred * centred) / count
    mean, variance = (_by_part(term, rows.view(term.count, -1)) for rows in (mean, variance))
    if normalisation.running is not None:
        if count:  # no images have no statistics
            for rows, now in zip(normalisation.running, (mean, variance * (count / (count - 1))), strict=True):
                torch._foreach_lerp_(rows, now.to(rows[0].dtype).unbind(), normalisation.momentum)
        if normalisation.batches is not None:
            torch._foreach_add_(normalisation.batches, 1)
    return mean, torch.rsqrt(variance + normalisation.eps)


def _plain_gradients(term: Term, value: Tensor, weights: Tensor, of_sums: _SumGradients) -> tuple[Tensor, Tensor, Rows]:
    """Return the gradients of a term without normalisation: of its weights, its value and its learned rows (none)."""
    gradients = [of_sums.each[target] for target in term.targets]
    parts = zip(gradients, term.parts(value), strict=True)
    of_weights = torch.stack([(g * z).sum(dtype=weights.dtype) for g, z in parts])
    products: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(term.count)]
    for slot, g, factor in zip(term.slots, gradients, weights.to(value.dtype).unbind(), strict=True):
        products[slot].append((g, factor))
    tensors = [_total(None, some, ()) for some in products]
    return of_weights, torch.cat(tensors, 1) if len(tensors) > 1 else tensors[0], ()


def _normalised_gradients(
    term: Term, value: Tensor, weights: Tensor, of_sums: _SumGradients, statistics: Statistics
) -> tuple[Tensor, Tensor, Rows]:
    """Return the gradients of a normalised term: of its weights, its value and its learned rows."""
    normalisation, (mean, rstd), weight = term.normalisation, statistics, weights[:, None]
    assert normalisation is not None
    aligned = term.aligned  # then all parts are computed at once
    side, levels = of_sums(term.targets)
    gradients = [side] if aligned else [of_sums.each[target] for target in term.targets]
    parts = (value,) if aligned else term.parts(value)
    products = [g * part for g, part in zip(gradients, parts, strict=True)]
    dots = torch.stack([_totals(product) for product in products]).view(levels.shape)
    dots = (dots - mean * levels) * rstd
    scale = torch.stack(normalisation.scales) if normalisation.scales else torch.ones_like(dots)
    of_weights = scale * dots + torch.stack(normalisation.shifts) * levels if normalisation.shifts else scale * dots
    factor = weight * scale * rstd
    if normalisation.batch_statistics:
        slope = factor * dots * rstd
        constant = factor * levels - slope * mean
        if not aligned:
            constant, slope = (_by_slot(term, rows) for rows in (constant, slope))
        count = -(value.numel() // value.shape[1])  # negative: both are subtracted
        constant, slope = (_channels(rows / count, value.dtype) for rows in (constant, slope))
        of_value = torch.addcmul(constant, value, slope, out=products[0] if aligned else None)
    else:
        of_value = torch.zeros_like(value)
    factors = [factor] if aligned else factor.unbind()
    for part, g, row in zip((of_value,) if aligned else term.parts(of_value), gradients, factors, strict=True):
        part.addcmul_(g, _channels(row, value.dtype))
    of_scales = (weight * dots).unbind() if normalisation.scales else ()
    of_shifts = (weight * levels).unbind() if normalisation.shifts else ()
    return of_weights.sum(1), of_value, of_scales + of_shifts


# Slots are numbers in Python: as an index tensor they would be copied to a GPU in every step, which waits for the GPU
# and cannot be recorded as a CUDA graph.


def _by_part(term: Term, rows: Tensor) -> Tensor:
    """Return (parts, C), for each part the row of its slot in `rows` (slots, C)."""
    return rows if term.aligned else torch.stack([rows[slot] for slot in term.slots])


def _by_slot(term: Term, rows: Tensor) -> Tensor:
    """Return (slots, C), the sum of `rows` (parts, C) over the parts that share a slot."""
    totals = rows.new_zeros(term.count, rows.shape[1])
    for slot, row in zip(term.slots, rows.unbind(), strict=True):
        totals[slot].add_(row)
    return totals


class _SumGradients:
    """The gradients of the sums, and their concatenations, each of which is made once for all terms."""

    def __init__(self, gradients: Sequence[Tensor]) -> None:
        self.each = gradients
        self._joined: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def __call__(self, targets: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients (B, parts * C, H, W) of the sums `targets`, and their totals (parts, C)."""
        if targets not in self._joined:
            side = torch.cat([self.each[t] for t in targets], 1) if len(targets) > 1 else self.each[targets[0]]
            self._joined[targets] = side, _totals(side).view(len(targets), -1)
        return self._joined[targets]


def _factors(
    normalisation: Normalisation | None, weights: Tensor, statistics: Statistics | None, dtype: torch.dtype
) -> tuple[Rows, Rows | None]:
    """Return the factor of each part, and the constant that is added to each channel, or None."""
    if normalisation is None or statistics is None:
        return weights.to(dtype).unbind(), None
    weight, (mean, rstd) = weights[:, None], statistics
    factor = weight * rstd * torch.stack(normalisation.scales) if normalisation.scales else weight * rstd
    constant = -mean * factor
    if normalisation.shifts:
        constant = constant + weight * torch.stack(normalisation.shifts)
    shape = (len(weights), 1, -1, 1, 1)
    return factor.to(dtype).view(shape).unbind(), constant.to(dtype).view(shape).unbind()


def _total(total: Tensor | None, products: Sequence[tuple[Tensor, Tensor]], constants: Sequence[Tensor]) -> Tensor:
    """Return `total` plus value * factor of all products plus all constants."""
    for value, factor in products:
        total = value * factor if total is None else total.addcmul_(value, factor)
    assert total is not None
    return total.add_(sum(constants[1:], constants[0])) if constants else total


def _totals(z: Tensor) -> Tensor:
    """Return the sum of each channel of `z` (B, C, H, W), as (C,), at least in float32.

    On a CPU, PyTorch sums some channels of all rows in each thread, while the operations before and after work on some
    rows in each thread. Nearly every cache line then moves from core to core, which costs more than the sum. The rows
    are therefore divided among the threads first.
    """
    exact = torch.promote_types(z.dtype, torch.float32)
    threads = math.gcd(len(z), torch.get_num_threads()) if z.device.type == "cpu" else 1
    if threads == 1:
        return z.sum((0, 2, 3), dtype=exact)
    return z.view(threads, len(z) // threads, *z.shape[1:]).sum((1, 3, 4), dtype=exact).sum(0)


def _channels(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (rows, C) as (1, rows * C, 1, 1), to be broadcast over tensors that lie side by side."""
    return rows.to(dtype).reshape(1, -1, 1, 1)
