"""The environment of a run: versions, hardware and threads, and whether a run goes on in the one it began in."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from typing_extensions import TypedDict

from supernet.engine.callbacks import Callback
from supernet.engine.checkpoints import START_OVER
from supernet.engine.files import read_json
from supernet.engine.memory import return_freed_memory
from supernet.engine.peak_memory import forget_peak_of_process, peak_of_process
from supernet.engine.process_group import count
from supernet.engine.processes import by_first
from supernet.engine.records import read_checked
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.settings import Count


def environment(kernels: str | None = None, device: torch.device | None = None) -> dict[str, Any]:
    """Return the versions and the hardware on which the numbers of a run depend; `kernels` are a search's.

    The GPU is `device`; where that is none, the one that PyTorch takes by default.
    """
    gpu = device if device is not None and device.type == "cuda" else None
    return {
        "supernet": version("supernet"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "kernels": kernels,
        "threads": torch.get_num_threads(),
        "processes": count(),
        "gpu": torch.cuda.get_device_name(gpu) if torch.cuda.is_available() else None,
        "command": sys.argv,
    }


def forget_memory(device: torch.device) -> None:
    """Let `note_memory` tell of what comes from now on, where the system can, not of runs before in this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return_freed_memory()
    forget_peak_of_process()


@by_first
def note_memory(run: Run, device: torch.device) -> None:
    """Note the peak memory of a run in its environment, unless a process before had more.

    It is in bytes, by where it was: of the whole process, and of its tensors on the GPU, since `forget_memory`.
    """
    file = run.path / "environment.json"
    peaks = {"process": peak_of_process()}
    if device.type == "cuda":
        peaks["GPU"] = torch.cuda.max_memory_allocated(device)
    try:
        found = read_json(file)
        before = found.get("peak_memory", {})
        found["peak_memory"] = {name: max(peak, before.get(name, 0)) for name, peak in peaks.items() if peak}
    except (ValueError, TypeError, AttributeError):  # a damaged file, which only `Computed` must be able to read
        return
    run.write(file.name, json.dumps(found, indent=2) + "\n")


class Computed(TypedDict):
    """What decides the bits of a run in its environment.json."""

    torch: str
    instructions: str
    kernels: str | None
    threads: Count
    processes: Count
    gpu: str | None


@contextmanager
def as_begun(
    run: Run, device: torch.device, kernels: str | None, callback: Callback, *, anyway: bool
) -> Iterator[None]:
    """Let a run go on as it began: with its number of threads, which is restored at the end.

    Raises UserError where versions, instructions, kernels, the GPU or the number of processes differ, so that it
    would end with other bits; with `anyway` it goes on with them, and with the threads there are now, and `callback` is
    told.
    """
    threads, now = torch.get_num_threads(), environment(kernels, device)
    before = _begun(run)
    if before is None:
        yield
        return
    on = ("instructions", "kernels") if device.type == "cpu" else ("gpu",)
    names = ["torch", "processes", *on, *(["threads"] if anyway and device.type == "cpu" else [])]
    changes = [f"{name} ({before[name]} there, {now[name]} now)" for name in names if before[name] != now[name]]
    if changes and not anyway:
        raise UserError(
            f"run '{run.path}' would end with other numbers than where it began: {', '.join(changes)}; "
            "go on there, or here with --resume-anyway"
        )
    if changes:
        callback.say(f"going on with other numbers than where run '{run.path}' began: {', '.join(changes)}")
    elif device.type == "cpu" and before["threads"] != threads:
        callback.say(f"going on with threads as run '{run.path}' began: {before['threads']}, not {threads}")
        torch.set_num_threads(before["threads"])
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@by_first
def _begun(run: Run) -> Mapping[str, Any] | None:
    """Return the environment in which the checkpoints of a run were made, None if there are none to go on from."""
    file, has_begun = run.path / "environment.json", any((run.path / "checkpoints").glob("*.pt"))
    if not file.exists() or not has_begun or run.task is None:
        return None
    found: Mapping[str, Any] = read_checked(Computed, file, START_OVER)
    return found
