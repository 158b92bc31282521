"""The weighted sums by the kernels in kernels.c, for channels-last tensors on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from supernet.models.fused.compiler import TYPES, library
from supernet.models.fused.terms import Gradients, Term

_PLAIN, _BATCH, _RUNNING = range(3)  # as in kernels.c


def usable(terms: Sequence[Term], values: Sequence[Tensor], sums: Sequence[Tensor | None]) -> bool:
    """Return whether the kernels can run these terms: channels-last on the CPU, all of one type and shape."""
    like, started = values[0], [total for total in sums if total is not None]
    batch, channels, height, width = like.shape
    width_of_parts = channels // terms[0].count
    counts = [term.count for term in terms] + [1] * len(started)
    images = [*values, *started]
    return (
        all(
            x.shape == (batch, width_of_parts * n, height, width)
            and x.dtype is like.dtype
            and x.device.type == "cpu"
            and x.is_contiguous(memory_format=torch.channels_last)
            for x, n in zip(images, counts, strict=True)
        )
        and all(
            row.dtype is like.dtype and row.numel() == width_of_parts and row.is_contiguous()
            for row in _all_rows(terms)
        )
        and like.dtype in TYPES
        and like.numel() > 0
        and library() is not None
    )


def _all_rows(terms: Sequence[Term]) -> Iterator[Tensor]:
    for term in terms:
        if term.normalisation:
            means, variances = term.normalisation.running or ((), ())
            yield from (*means, *variances, *term.normalisation.learned)


def forward(
    terms: Sequence[Term], values: Sequence[Tensor], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool
) -> tuple[list[Tensor], _KernelCall]:
    """Return the sums, changed in place, and the arguments that `backward` passes to its kernel again."""
    call = _KernelCall(terms, values[0], weights, len(sums), joined)
    batch, _, height, width = values[0].shape
    shape = (batch, call.width * (len(sums) if joined else 1), height, width)
    totals = [
        torch.empty(shape, dtype=values[0].dtype, memory_format=torch.channels_last) if total is None else total
        for total in ([None] if joined else sums)
    ]
    begun = _array(ctypes.c_int, (total is not None for total in sums))
    call.kernel("forward")(call.address, call.parts(values), call.sums(totals), begun)
    return totals, call


def backward(
    terms: Sequence[Term],
    values: Sequence[Tensor],
    weights: Tensor,
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
    call: _KernelCall,
    *,
    joined: bool,
) -> Gradients:
    """Return the gradients of the terms, from those of the sums."""
    dtype, layout = gradients[0].dtype, torch.channels_last
    gradients = [gradient.contiguous(memory_format=layout) for gradient in gradients]
    # Hooks on saved tensors may have brought back the values in another way than they lay in memory
    values = [value.to(dtype).contiguous(memory_format=layout) for value in values]
    of_values = [torch.empty_like(z) if need else None for z, need in zip(values, needed, strict=True)]
    result = Gradients(values[0].new_empty(len(weights)), of_values)
    rows: dict[str, list[Tensor | None]] = {"scales": [], "shifts": []}
    for term in terms:
        for name, of_rows in rows.items():
            learned = getattr(term.normalisation, name) if term.normalisation else None
            made = [torch.empty_like(row) for row in learned or ()]
            result.learned += made
            of_rows += made or [None] * len(term.targets)
    call.kernel("backward")(
        *(call.address, call.parts(values), call.sums(gradients), call.parts(of_values)),
        *(ctypes.c_void_p(result.weights.data_ptr()), _addresses(rows["scales"]), _addresses(rows["shifts"])),
    )
    return result


class _Struct(ctypes.Structure):
    """The struct Call of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "width", "parts", "sums", "sum_ld", "threads")),
        *((name, ctypes.c_void_p) for name in ("ld", "target", "same", "kind", "weight", "eps", "momentum")),
        *((name, ctypes.c_void_p) for name in ("mean", "variance", "running_mean", "running_variance", "batches")),
        *((name, ctypes.c_void_p) for name in ("scale", "shift")),
    )


class _KernelCall:
    """The terms as arguments of the kernels, in arrays with one entry per part; keep it alive while a kernel runs."""

    def __init__(self, terms: Sequence[Term], like: Tensor, weights: Tensor, sums: int, joined: bool) -> None:
        self.size, self._type = like.element_size(), TYPES[like.dtype]
        self.width = like.shape[1] // terms[0].count
        self._slots = [term.slots for term in terms]
        self._joined = sums if joined else 0
        parts, rows = sum(map(len, self._slots)), like.numel() // like.shape[1]
        statistics = like.new_empty(2, parts, self.width)
        weight, mean = _array(ctypes.c_double, weights.tolist()), statistics.data_ptr()
        variance = mean + parts * self.width * self.size
        ld, target, same, kind, eps, momentum = _layout(self.width, tuple(map(_constants, terms)))
        pointers = [_addresses([row for term in terms for row in _rows(term, name)]) for name in _ROWS]
        sum_ld = self.width * (sums if joined else 1)
        self._alive = (weight, statistics, pointers, ld, target, same, kind, eps, momentum)
        self._struct = _Struct(
            *(rows, self.width, parts, sums, sum_ld, torch.get_num_threads()),
            *(ctypes.addressof(array) for array in (ld, target, same, kind, weight, eps, momentum)),
            *(mean, variance, *(ctypes.addressof(array) for array in pointers)),
        )
        self.address = ctypes.byref(self._struct)

    def kernel(self, name: str) -> Callable[..., None]:
        """Return the kernel of that name for numbers of the terms' type."""
        return getattr(library(), f"{name}_{self._type}")  # type: ignore[no-any-return]

    def parts(self, values: Sequence[Tensor | None]) -> Any:
        """Return the address of each part of the values."""
        step, addresses = self.width * self.size, []
        for value, slots in zip(values, self._slots, strict=True):
            start = None if value is None else value.data_ptr()
            addresses += [None if start is None else start + slot * step for slot in slots]
        return _array(ctypes.c_void_p, addresses)

    def sums(self, tensors: Sequence[Tensor]) -> Any:
        """Return the address of each sum."""
        if not self._joined:
            return _addresses(tensors)
        start = tensors[0].data_ptr()
        return _array(ctypes.c_void_p, [start + j * self.width * self.size for j in range(self._joined)])


_ROWS = ("means", "variances", "batches", "scales", "shifts")


def _rows(term: Term, name: str) -> Sequence[Tensor | None]:
    """Return the rows of that name for each part of a term."""
    normalisation = term.normalisation
    if normalisation is not None and name in ("batches", "scales", "shifts"):
        rows: Sequence[Tensor] | None = getattr(normalisation, name)
    else:
        rows = normalisation.running[_ROWS.index(name)] if normalisation and normalisation.running else None
    return (None,) * len(term.targets) if rows is None else rows


def _constants(term: Term) -> tuple[Any, ...]:
    """Return the properties of a term that stay the same from call to call."""
    normalisation = term.normalisation
    if normalisation is None:
        return term.count, term.targets, term.slots, _PLAIN, 0.0, 0.0
    kind = _BATCH if normalisation.batch_statistics else _RUNNING
    return term.count, term.targets, term.slots, kind, normalisation.eps, normalisation.momentum


@lru_cache(1024)
def _layout(width: int, terms: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """Return the arrays of the struct that stay the same from call to call, with one entry per part."""
    entries: list[tuple[Any, ...]] = []
    for count, targets, slots, kind, eps, momentum in terms:
        start = len(entries)
        same = (start + slots.index(slot) for slot in slots)
        entries += [(width * count, t, s, kind, eps, momentum) for t, s in zip(targets, same, strict=True)]
    types = (ctypes.c_long,) * 4 + (ctypes.c_double,) * 2
    return tuple(map(_array, types, zip(*entries, strict=True)))


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return _array(ctypes.c_void_p, [None if tensor is None else tensor.data_ptr() for tensor in tensors])


def _array(kind: Any, entries: Iterable[Any]) -> Any:
    entries = list(entries)
    return (kind * len(entries))(*entries)
