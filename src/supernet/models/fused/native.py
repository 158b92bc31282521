"""The kernels in kernels.c, compiled by the machine's own C compiler when they are first needed, and kept.

Without a compiler that knows OpenMP, or with the environment variable SUPERNET_NATIVE=0, PyTorch's operations compute
the same.
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
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from supernet.models.fused.terms import Back, Term

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = (
    *("-O2", "-ftree-vectorize", "-funroll-loops", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
)
Pair = tuple[int, int]
_NAMES = {torch.float32: "float", torch.float64: "double"}


def usable(terms: Sequence[Term], values: Sequence[Tensor], sums: Sequence[Tensor | None]) -> bool:
    """Return whether the kernels can take these terms: channels-last on the CPU, of one type and shape."""
    like, begun = values[0], [total for total in sums if total is not None]
    batch, channels, height, width = like.shape
    own = channels // terms[0].count
    counts = [term.count for term in terms] + [1] * len(begun)
    images = [*values, *begun]
    return (
        all(tuple(x.shape) == (batch, own * n, height, width) for x, n in zip(images, counts, strict=True))
        and all(row.dtype is like.dtype and len(row) == own and row.is_contiguous() for row in _rows(terms))
        and takes(*images)
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
    key = hashlib.sha256(_SOURCE.read_bytes() + version + " ".join([*_FLAGS, _processor()]).encode()).hexdigest()[:16]
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
) -> tuple[list[Tensor], _KernelCall]:
    """Return the sums, changed in place, and what `backward` wants to know."""
    job = _KernelCall(terms, values[0], weights, len(sums), joined)
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
    job: _KernelCall,
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


class Slide(NamedTuple):
    """How a window slides over an image; pairs of rows and columns."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def over(self, height: int, width: int) -> Pair:
        """Return how many windows there are."""
        rows, columns = (
            (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for side, kernel, stride, padding, dilation in zip((height, width), *self, strict=True)
        )
        return rows, columns


def takes(*tensors: Tensor) -> bool:
    """Return whether the kernels can take these images (B, C, H, W), which need not be of one shape."""
    first = tensors[0].dtype
    return (
        first in _NAMES
        and all(
            tensor.dtype is first
            and tensor.device.type == "cpu"
            and tensor.is_contiguous(memory_format=torch.channels_last)
            for tensor in tensors
        )
        and library() is not None
    )


def depthwise(x: Tensor, g: Tensor, slide: Slide) -> Tensor:
    """Return the gradient (C, 1, rows, columns) of a depthwise convolution's weights, from that of its output."""
    of_weight = x.new_empty(*slide.kernel, x.shape[1])
    _slid("depthwise", x, tuple(x.shape), slide, x, g, of_weight)
    return of_weight.permute(2, 0, 1)[:, None].contiguous()


def average(x: Tensor, slide: Slide, *, counted: bool) -> Tensor:
    """Return the averages of the windows; the padding is `counted` as zeros, or not."""
    shape = (x.shape[0], x.shape[1], *slide.over(x.shape[2], x.shape[3]))
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    _slid("average", x, tuple(x.shape), slide, ctypes.c_int(counted), x, out)
    return out


def average_back(g: Tensor, slide: Slide, shape: tuple[int, ...], *, counted: bool) -> Tensor:
    """Return the gradient of images of that shape, from that of the averages."""
    back = torch.empty(shape, dtype=g.dtype, memory_format=torch.channels_last)
    _slid("average_back", g, shape, slide, ctypes.c_int(counted), g, back)
    return back


def _slid(name: str, like: Tensor, shape: tuple[int, ...], slide: Slide, *arguments: Any) -> None:
    """Call a kernel that slides a window over images (B, C, H, W)."""
    batch, channels, height, width = shape
    pairs = (slide.over(height, width), *slide)
    numbers = (batch, height, width, channels, torch.get_num_threads(), *(n for pair in pairs for n in pair))
    passed = (ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments)
    getattr(library(), f"{name}_{_NAMES[like.dtype]}")(_array(ctypes.c_long, numbers), *passed)


class _Struct(ctypes.Structure):
    """The struct Job of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "width", "parts", "sums", "sum_ld", "threads")),
        *((name, ctypes.c_void_p) for name in ("ld", "target", "same", "kind", "weight", "eps", "momentum")),
        *((name, ctypes.c_void_p) for name in ("mean", "variance", "running_mean", "running_variance")),
        *((name, ctypes.c_void_p) for name in ("scale", "shift")),
    )


class _KernelCall:
    """Terms as kernels.c takes them, with an entry per part; it must live as long as its address is used."""

    def __init__(self, terms: Sequence[Term], like: Tensor, weights: Tensor, sums: int, joined: bool) -> None:
        self.size, self._type = like.element_size(), _NAMES[like.dtype]
        self.width = like.shape[1] // terms[0].count
        self._slots = [term.slots for term in terms]
        self._joined = sums if joined else 0
        parts, rows = sum(map(len, self._slots)), like.numel() // like.shape[1]
        statistics = like.new_empty(2, parts, self.width)
        tensors = (weights.to(torch.float64), *statistics.unbind())
        weight, mean, variance = (tensor.data_ptr() for tensor in tensors)
        ld, target, same, kind, eps, momentum = _layout(self.width, tuple(map(_form, terms)))
        found = [_addresses([row for term in terms for row in _given(term, name)]) for name in _ROWS]
        sum_ld = self.width * (sums if joined else 1)
        self._alive = (tensors, found, ld, target, same, kind, eps, momentum)
        self._struct = _Struct(
            *(rows, self.width, parts, sums, sum_ld, torch.get_num_threads()),
            *(ctypes.addressof(array) for array in (ld, target, same, kind)),
            *(weight, ctypes.addressof(eps), ctypes.addressof(momentum), mean, variance),
            *(ctypes.addressof(array) for array in found),
        )
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


_ROWS = ("means", "variances", "scales", "shifts")


def _given(term: Term, name: str) -> Sequence[Tensor | None]:
    """Return the rows of that name for each part."""
    normal = term.normal
    if normal is not None and name in ("scales", "shifts"):
        rows: Sequence[Tensor] | None = getattr(normal, name)
    else:
        rows = normal.running[_ROWS.index(name)] if normal is not None and normal.running else None
    return (None,) * len(term.targets) if rows is None else rows


def _form(term: Term) -> tuple[Any, ...]:
    """Return all of a term that stays the same from call to call."""
    normal = term.normal
    kind = _PLAIN if normal is None else _OWN if normal.own else _RUNNING
    return (term.count, term.targets, term.slots, kind, *((normal.eps, normal.momentum) if normal else (0.0, 0.0)))


@lru_cache(1024)
def _layout(width: int, forms: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """Return the arrays of the struct that stay the same from call to call, an entry per part."""
    entries: list[tuple[Any, ...]] = []
    for count, targets, slots, kind, eps, momentum in forms:
        start = len(entries)
        same = (start + slots.index(slot) for slot in slots)
        entries += [(width * count, t, s, kind, eps, momentum) for t, s in zip(targets, same, strict=True)]
    kinds = (ctypes.c_long,) * 4 + (ctypes.c_double,) * 2
    return tuple(map(_array, kinds, zip(*entries, strict=True)))


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return _array(ctypes.c_void_p, [None if tensor is None else tensor.data_ptr() for tensor in tensors])


def _array(kind: Any, entries: Iterable[Any]) -> Any:
    entries = list(entries)
    return (kind * len(entries))(*entries)
