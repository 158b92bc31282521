"""The weighted sums in kernels.c, compiled by the machine's own C compiler when they are first needed, and kept.

Without a compiler that knows OpenMP, or with the environment variable SUPERNET_NATIVE=0, `eager` computes the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.kernels.terms import Back, Term

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ("-O2", "-ftree-vectorize", "-march=native", "-fopenmp", "-shared", "-fPIC")
_NAMES = {torch.float32: "float", torch.float64: "double"}


def usable(terms: Sequence[Term], values: Sequence[Tensor], sums: Sequence[Tensor | None]) -> bool:
    """Return whether the kernels can take these terms: channels-last on the CPU, of one type and shape."""
    like = values[0]
    batch, channels, height, width = like.shape
    shape, own = (batch, height, width), channels // terms[0].count
    slots = [(value, term.count) for value, term in zip(values, terms, strict=True)]
    slots += [(total, 1) for total in sums if total is not None]
    return (
        like.dtype in _NAMES
        and all(
            value.dtype is like.dtype
            and value.device.type == "cpu"
            and value.shape[1] == own * count
            and (value.shape[0], *value.shape[2:]) == shape
            and value.is_contiguous(memory_format=torch.channels_last)
            for value, count in slots
        )
        and all(row.dtype is like.dtype and len(row) == own and row.is_contiguous() for row in _rows(terms))
        and library() is not None
    )


def _rows(terms: Sequence[Term]) -> Iterator[Tensor]:
    for term in terms:
        if term.normal:
            means, variances = term.normal.running or ((), ())
            yield from (*means, *variances, *term.normal.learned)


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None where they cannot be had."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.environ.get("SUPERNET_NATIVE") == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(shlex.split(compiler))))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):  # no home folder is a RuntimeError
        return None


def _compiled(compiler: Sequence[str]) -> Path:
    """Return the file of the compiled kernels, compiled if this machine has not done it before."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(_SOURCE.read_bytes() + version + _processor().encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supernet"
    file = folder / f"kernels-{key}.so"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:  # another process may be at it
            made = Path(place) / file.name
            command = [*compiler, *_FLAGS, str(_SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, capture_output=True, check=True, timeout=120)
            made.replace(file)
    return file


def _processor() -> str:
    """Return what the compiled code depends on: a home folder may be shared by machines that are not alike."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))


def forward(
    terms: Sequence[Term], values: Sequence[Tensor], weights: Tensor, sums: Sequence[Tensor | None], *, joined: bool
) -> tuple[list[Tensor], _Job]:
    """Return the sums, changed in place, and what `backward` wants to know."""
    job = _Job(terms, values[0], weights, len(sums), joined)
    batch, _, height, width = values[0].shape
    shape = (batch, job.width * (len(sums) if joined else 1), height, width)
    made = [None] if joined else sums
    totals = [
        torch.empty(shape, dtype=values[0].dtype, memory_format=torch.channels_last) if total is None else total
        for total in made
    ]
    begun = _array(ctypes.c_int, (total is not None for total in sums))
    job.kernel("forward")(job.address, job.slices(values), job.sums(totals), begun)
    return totals, job


def backward(
    terms: Sequence[Term],
    values: Sequence[Tensor],
    weights: Tensor,
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
    job: _Job,
    *,
    joined: bool,
) -> Back:
    """Return the gradients of the terms, from those of the sums."""
    gradients = [gradient.contiguous(memory_format=torch.channels_last) for gradient in gradients]
    of_values = [torch.empty_like(z) if need else None for z, need in zip(values, needed, strict=True)]
    back = Back(values[0].new_empty(len(weights)), of_values)
    rows: dict[str, list[Tensor | None]] = {"scales": [], "shifts": []}
    for term in terms:
        for name, found in rows.items():
            learned = getattr(term.normal, name) if term.normal else None
            made = [torch.empty_like(row) for row in learned or ()]
            back.learned += made
            found += made or [None] * len(term.targets)
    job.kernel("backward")(
        *(job.address, job.slices(values), job.sums(gradients), job.slices(of_values)),
        *(ctypes.c_void_p(back.weights.data_ptr()), _addresses(rows["scales"]), _addresses(rows["shifts"])),
    )
    return back


_PLAIN, _OWN, _RUNNING = range(3)  # as in kernels.c


class _Struct(ctypes.Structure):
    """The struct Job of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "width", "parts", "sums", "sum_ld", "threads")),
        *((name, ctypes.c_void_p) for name in ("ld", "target", "same", "kind", "weight", "eps", "momentum")),
        *((name, ctypes.c_void_p) for name in ("mean", "variance", "running_mean", "running_variance")),
        *((name, ctypes.c_void_p) for name in ("scale", "shift")),
    )


class _Job:
    """Terms as kernels.c takes them, with an entry per part; it must live as long as its address is used."""

    def __init__(self, terms: Sequence[Term], like: Tensor, weights: Tensor, sums: int, joined: bool) -> None:
        first, self.size, self._type = terms[0], like.element_size(), _NAMES[like.dtype]
        self.width = like.shape[1] // first.count
        self._slots = [term.slots for term in terms]
        self._joined = sums if joined else 0
        targets: list[int] = []
        same: list[int] = []
        lds, kinds, eps, momenta = [], [], [], []
        rows: dict[str, list[Tensor | None]] = {"mean": [], "variance": [], "scales": [], "shifts": []}
        for term in terms:
            count, normal, start = len(term.targets), term.normal, len(targets)
            targets += term.targets
            same += [start + term.slots.index(slot) for slot in term.slots]
            lds += [self.width * term.count] * count
            kinds += [_PLAIN if normal is None else _OWN if normal.own else _RUNNING] * count
            eps += [normal.eps if normal else 0.0] * count
            momenta += [normal.momentum if normal else 0.0] * count
            running = normal.running if normal and normal.running else (None, None)
            found = (*running, normal and normal.scales, normal and normal.shifts)
            for name, own in zip(rows, found, strict=True):
                rows[name] += own or [None] * count
        statistics = like.new_empty(2, len(targets), self.width)
        exact = weights.to(torch.float64)
        arrays = [
            *(_array(ctypes.c_long, numbers) for numbers in (lds, targets, same, kinds)),
            *(exact, _array(ctypes.c_double, eps), _array(ctypes.c_double, momenta), *statistics.unbind()),
            *(_addresses(found) for found in rows.values()),
        ]
        self._alive = arrays
        sum_ld = self.width * (sums if joined else 1)
        numbers = (like.numel() // like.shape[1], self.width, len(targets), sums, sum_ld, torch.get_num_threads())
        addresses = (a.data_ptr() if isinstance(a, Tensor) else ctypes.addressof(a) for a in arrays)
        self._struct = _Struct(*numbers, *addresses)
        self.address = ctypes.byref(self._struct)

    def kernel(self, name: str) -> Callable[..., None]:
        """Return a kernel for numbers of the terms' type."""
        return getattr(library(), f"{name}_{self._type}")  # type: ignore[no-any-return]

    def slices(self, values: Sequence[Tensor | None]) -> Any:
        """Return the address of each part of the values."""
        step = self.width * self.size
        found = []
        for value, slots in zip(values, self._slots, strict=True):
            start = None if value is None else value.data_ptr()
            found += [None if start is None else start + slot * step for slot in slots]
        return _array(ctypes.c_void_p, found)

    def sums(self, tensors: Sequence[Tensor]) -> Any:
        """Return the address of each sum."""
        if not self._joined:
            return _addresses(tensors)
        start = tensors[0].data_ptr()
        return _array(ctypes.c_void_p, [start + j * self.width * self.size for j in range(self._joined)])


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return _array(ctypes.c_void_p, [None if tensor is None else tensor.data_ptr() for tensor in tensors])


def _array(kind: Any, entries: Iterable[Any]) -> Any:
    entries = list(entries)
    return (kind * len(entries))(*entries)
