"""The weighted sums in PyTorch's own operations, for any device, type and memory format."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.models.fused.terms import Back, Normal, Rows, Term, split

Statistics = tuple[Tensor, Tensor]
"""Mean and 1/sqrt(variance + eps), (parts, C) each."""


def forward(
    terms: Sequence[Term], values: Sequence[Tensor], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool
) -> tuple[list[Tensor], list[Statistics | None]]:
    """Return the sums, changed in place, and what `backward` wants to know."""
    known = [_statistics(term, z, term.normal) if term.normal else None for term, z in zip(terms, values, strict=True)]
    shares: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sums]
    constants: list[list[Tensor]] = [[] for _ in sums]
    for term, value, own, found in zip(terms, values, split(terms, weights), known, strict=True):
        factors, added = _factors(term.normal, own, found, value.dtype)
        for j, (part, target) in enumerate(zip(term.parts(value), term.targets, strict=True)):
            shares[target].append((part, factors[j]))
            if added is not None:
                constants[target].append(added[j])
    totals = [_total(*parts) for parts in zip(sums, shares, constants, strict=True)]
    return [torch.cat(totals, 1)] if joined else totals, known


def backward(
    terms: Sequence[Term],
    values: Sequence[Tensor],
    weights: Tensor,
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
    known: Sequence[Statistics | None],
    *,
    joined: bool,
) -> Back:
    """Return the gradients of the terms, from those of the sums."""
    if joined:
        gradients = gradients[0].chunk(1 + max(target for term in terms for target in term.targets), 1)
    wide, of_weights, back = _Wide(gradients), [], Back(weights)
    for term, value, own, need, found in zip(terms, values, split(terms, weights), needed, known, strict=True):
        weight, of_value, learned = (
            _plain(term, value, own, wide) if found is None else _normal(term, value, own, wide, found)
        )
        of_weights.append(weight)
        back.values.append(of_value if need else None)
        back.learned += learned
    back.weights = torch.cat(of_weights)
    return back


def _statistics(term: Term, z: Tensor, normal: Normal) -> Statistics:
    """Return the mean and 1/std of the rows; the running ones follow."""
    if not normal.own:
        assert normal.running is not None
        mean, variance = (torch.stack(rows) for rows in normal.running)
        return mean, torch.rsqrt(variance + normal.eps)
    count, slots = z.numel() // z.shape[1], list(term.slots)
    mean = _totals(z) / count
    centred = z - _channels(mean, z.dtype)  # as a difference of squares it would be lost where the mean is large
    variance = _totals(centred * centred) / count
    mean, variance = (rows.view(term.count, -1)[slots] for rows in (mean, variance))
    if normal.running is not None:
        for rows, now in zip(normal.running, (mean, variance * (count / (count - 1))), strict=True):
            torch._foreach_lerp_(rows, now.to(rows[0].dtype).unbind(), normal.momentum)
    return mean, torch.rsqrt(variance + normal.eps)


def _plain(term: Term, value: Tensor, own: Tensor, wide: _Wide) -> tuple[Tensor, Tensor, Rows]:
    gradients = [wide.each[target] for target in term.targets]
    parts = zip(gradients, term.parts(value), strict=True)
    weight = torch.stack([(g * z).sum(dtype=own.dtype) for g, z in parts])
    shares: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(term.count)]
    for slot, g, factor in zip(term.slots, gradients, own.to(value.dtype).unbind(), strict=True):
        shares[slot].append((g, factor))
    found = [_total(None, share, ()) for share in shares]
    return weight, torch.cat(found, 1) if len(found) > 1 else found[0], ()


def _normal(term: Term, value: Tensor, own: Tensor, wide: _Wide, known: Statistics) -> tuple[Tensor, Tensor, Rows]:
    normal, (mean, rstd), weight = term.normal, known, own[:, None]
    assert normal is not None
    aligned = term.slots == tuple(range(term.count))  # all parts at once then
    side, levels = wide(term.targets)
    gradients = [side] if aligned else [wide.each[target] for target in term.targets]
    parts = (value,) if aligned else term.parts(value)
    products = [g * part for g, part in zip(gradients, parts, strict=True)]
    dots = torch.stack([_totals(product) for product in products]).view(levels.shape)
    dots = (dots - mean * levels) * rstd
    scale = torch.stack(normal.scales) if normal.scales else torch.ones_like(dots)
    share = scale * dots + torch.stack(normal.shifts) * levels if normal.shifts else scale * dots
    factor = weight * scale * rstd
    if normal.own:
        slope = factor * dots * rstd
        constant = factor * levels - slope * mean
        if not aligned:
            constant, slope = (_by_slot(term, rows) for rows in (constant, slope))
        count = -(value.numel() // value.shape[1])  # negative: both are taken away
        constant, slope = (_channels(rows / count, value.dtype) for rows in (constant, slope))
        back = torch.addcmul(constant, value, slope, out=products[0] if aligned else None)
    else:
        back = torch.zeros_like(value)
    factors = [factor] if aligned else factor.unbind()
    for to, g, row in zip((back,) if aligned else term.parts(back), gradients, factors, strict=True):
        to.addcmul_(g, _channels(row, value.dtype))
    of_scales = (weight * dots).unbind() if normal.scales else ()
    of_shifts = (weight * levels).unbind() if normal.shifts else ()
    return share.sum(1), back, of_scales + of_shifts


def _by_slot(term: Term, rows: Tensor) -> Tensor:
    """Return the sum of the parts' rows (parts, C) for each slot."""
    return rows.new_zeros(term.count, rows.shape[1]).index_add_(0, torch.tensor(term.slots, device=rows.device), rows)


class _Wide:
    """Gradients of several sums side by side, made once for all terms that need the same ones."""

    def __init__(self, gradients: Sequence[Tensor]) -> None:
        self.each = gradients
        self._made: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def __call__(self, targets: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients (B, parts * C, H, W) of the sums `targets`, and their totals (parts, C)."""
        if targets not in self._made:
            side = torch.cat([self.each[t] for t in targets], 1) if len(targets) > 1 else self.each[targets[0]]
            self._made[targets] = side, _totals(side).view(len(targets), -1)
        return self._made[targets]


def _factors(
    normal: Normal | None, own: Tensor, known: Statistics | None, dtype: torch.dtype
) -> tuple[Rows, Rows | None]:
    """Return what each part is multiplied by, and what is added per channel."""
    if normal is None or known is None:
        return own.to(dtype).unbind(), None
    weight, (mean, rstd) = own[:, None], known
    factor = weight * rstd * torch.stack(normal.scales) if normal.scales else weight * rstd
    constant = -mean * factor
    if normal.shifts:
        constant = constant + weight * torch.stack(normal.shifts)
    shape = (len(own), 1, -1, 1, 1)
    return factor.to(dtype).view(shape).unbind(), constant.to(dtype).view(shape).unbind()


def _total(total: Tensor | None, shares: Sequence[tuple[Tensor, Tensor]], constants: Sequence[Tensor]) -> Tensor:
    """Add value * factor of all shares, and the constants, to `total`."""
    for value, factor in shares:
        total = value * factor if total is None else total.addcmul_(value, factor)
    assert total is not None
    return total.add_(sum(constants[1:], constants[0])) if constants else total


def _totals(z: Tensor) -> Tensor:
    """Return the sum of each channel of `z` (B, C, H, W), as (C,), at least in float32.

    On a CPU, PyTorch gives every thread some channels of all rows to add. What reads or writes `z` before and after
    gives it some rows, and then nearly every cache line changes hands, which costs more than the sum. So the rows are
    shared out first.
    """
    exact = torch.promote_types(z.dtype, torch.float32)
    threads = math.gcd(len(z), torch.get_num_threads()) if z.device.type == "cpu" else 1
    if threads == 1:
        return z.sum((0, 2, 3), dtype=exact)
    return z.view(threads, -1, *z.shape[1:]).sum((1, 3, 4), dtype=exact).sum(0)


def _channels(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (rows, C) as what multiplies a value with the rows side by side."""
    return rows.to(dtype).reshape(1, -1, 1, 1)
