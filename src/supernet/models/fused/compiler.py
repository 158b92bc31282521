"""Compile kernels.c with the machine's C compiler, once, and load it.

Without a compiler that supports OpenMP, or with the environment variable SUPERNET_NATIVE=0, PyTorch's operations
compute the same.
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
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = (
    *("-O2", "-ftree-vectorize", "-funroll-loops", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
)


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None if they cannot be compiled or loaded."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.environ.get("SUPERNET_NATIVE") == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(shlex.split(compiler))))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):  # without a home folder: RuntimeError
        return None


def _compiled(compiler: Sequence[str]) -> Path:
    """Return the file of the compiled kernels, compiled first unless this machine has done so before."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(_SOURCE.read_bytes() + version + " ".join([*_FLAGS, _processor()]).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supernet"
    file = folder / f"kernels-{key}.so"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:  # another process may compile at the same time
            made = Path(temporary) / file.name
            command = [*compiler, *_FLAGS, str(_SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, capture_output=True, check=True, timeout=120)
            made.replace(file)
    return file


def _processor() -> str:
    """Return a description of the processor, since different machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))
