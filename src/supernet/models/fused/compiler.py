"""Compile kernels.c and pooling.c with the machine's C compiler, once, and load them as one library.

The library is kept in a folder that only its owner can write. Its name has marks of the processor and of the compiler,
and a digest of its content: a damaged file is not loaded but compiled again, and a machine without a compiler loads
what another one of the same kind has compiled.

Without either, or with the environment variable SUPERNET_NATIVE=0, PyTorch's operations compute the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

_SOURCES, _HEADERS = (
    tuple(map(Path(__file__).with_name, names)) for names in (("kernels.c", "pooling.c"), ("common.h", "for_types.h"))
)
_FLAGS = (
    *("-O2", "-ftree-vectorize", "-funroll-loops", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
)

TYPES = {torch.float32: "float", torch.float64: "double"}
"""The types of numbers that the kernels are compiled for, as the ends of their names."""


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None if they cannot be compiled or loaded."""
    if os.environ.get("SUPERNET_NATIVE") == "0":
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="supernet-") as temporary:
            return _library(_folder() or Path(temporary), Path(temporary))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _library(folder: Path, temporary: Path) -> ctypes.CDLL | None:
    """Return the library that `folder` has, or compile it there first if there is a compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    command = shlex.split(compiler or "")
    version = subprocess.run([*command, "--version"], capture_output=True, check=True).stdout if command else b""
    content = b"".join(file.read_bytes() for file in (*_SOURCES, *_HEADERS))
    machine = _mark(content + " ".join([*_FLAGS, _processor()]).encode())
    name = f"kernels-{machine}-{_mark(version) if command else '*'}"
    kept = (_loaded(file) for file in sorted(folder.glob(f"{name}-*.so")))
    found = next((one for one in kept if one is not None), None)
    if found is not None or not command:
        return found
    made = temporary / "kernels.so"
    subprocess.run(
        [*command, *_FLAGS, *map(str, _SOURCES), "-o", str(made), "-lm"], capture_output=True, check=True, timeout=120
    )
    return _loaded(_keep(made.read_bytes(), folder, name))


def _loaded(file: Path) -> ctypes.CDLL | None:
    """Load a library; None if it is damaged or cannot be loaded, or if somebody else could have written it."""
    if not _is_own(file, stat.S_ISREG) or not file.stem.endswith(_mark(file.read_bytes())):
        return None
    with suppress(OSError):
        return ctypes.CDLL(str(file))
    file.unlink()
    return None


def _keep(content: bytes, folder: Path, name: str) -> Path:
    """Write a library into the folder: readers, also after a crash, find all of it or nothing."""
    handle, path = tempfile.mkstemp(dir=folder)  # another process may compile at the same time
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(path).replace(folder / f"{name}-{_mark(content)}.so")


def _folder() -> Path | None:
    """Return the folder of the libraries, None if there can be none or somebody else could write into it."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supernet"
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if _is_own(folder, stat.S_ISDIR) and os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):  # without a home folder: RuntimeError
        return None


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return whether a path is of a kind, no link, and this user's, and nobody else can write it."""
    found = path.lstat()
    owner = os.geteuid() if hasattr(os, "geteuid") else found.st_uid
    return is_kind(found.st_mode) and found.st_uid == owner and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _processor() -> str:
    """Return a description of the processor, since different machines may share a home folder."""
    names = ("model name", "flags", "Features", "CPU implementer", "CPU variant", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # a system that tells nothing about features: every machine compiles for itself
        return platform.processor() + platform.machine() + platform.node()
    return "".join(dict.fromkeys(line for line in lines if line.startswith(names)))
