"""`--processes N`: a command started again in N processes that work together, as torchrun does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from supernet.cli.parsing import Arguments, option, peek, same_command
from supernet.errors import UserError

OPTIONS: dict[str, Any] = {
    "processes": option(int, "processes that share the images of every step, a GPU each where there are GPUs"),
    "gpus": option(int, "the same, on so many GPUs"),
}
NONE = {"processes": 1, "gpus": 0}


def check_processes(given: Arguments) -> tuple[int, int]:
    """Return the processes and the GPUs that the arguments ask for; raises UserError for what cannot be had."""
    processes, gpus = (int(peek(given, name, NONE[name])) for name in OPTIONS)
    if processes < 1 or gpus < 0 or (gpus and processes > 1):
        raise UserError("give --processes N or --gpus N, with 1 or more of them")
    if (processes, gpus) == (1, 0):
        return processes, gpus
    from supernet.engine.process_group import started

    if started():
        raise UserError("these processes are several already: leave --processes and --gpus out")
    if gpus:
        import torch

        if gpus > torch.cuda.device_count():
            raise UserError(f"this machine has {torch.cuda.device_count()} GPUs, not {gpus}: try --processes {gpus}")
    return processes, gpus


def launched(command: str, given: Arguments) -> bool:
    """Run a command in the processes that its arguments ask for, if several; return whether it has run.

    Raises UserError if there are too few GPUs, and SystemExit with the status of a process that has failed.
    """
    processes, gpus = check_processes(given)
    if processes == 1 and gpus <= 1:
        return False
    _run([command, *_without(given), *(["--device", "cuda"] if gpus else [])], max(processes, gpus))
    return True


def _without(given: Arguments) -> list[str]:
    """Return the arguments without the options of this module."""
    flags, kept, skip = [f"--{name}" for name in OPTIONS], list[str](), False
    for word in given:
        if not skip and not word.startswith(tuple(f"{flag}=" for flag in flags)) and word not in flags:
            kept.append(word)
        skip = word in flags
    return kept


def _run(words: Arguments, processes: int) -> None:
    import logging
    from tempfile import TemporaryDirectory

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from supernet.data.limits import cores
    from supernet.engine import one_machine
    from supernet.engine.process_group import LAUNCHER, MEETING, SPOKEN

    logging.disable(logging.ERROR)  # a process that ends says why itself
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")  # seconds until processes that save are killed
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="supernet",
        rdzv_backend=one_machine.NAME,
        max_restarts=0,
        monitor_interval=0.1,
    )
    one_machine.on_loopback()
    os.environ[LAUNCHER] = str(os.getpid())
    with TemporaryDirectory() as folder:
        os.environ[SPOKEN] = spoken = str(Path(folder, "spoken"))
        os.environ[MEETING] = str(Path(folder, "meeting"))
        try:
            elastic_launch(config, sys.executable)("-m", "supernet", *words)
        except ChildFailedError as error:
            number, failure = error.get_first_failure()
            code, reason = failure.exitcode, f"process {number} was ended, which stops all of them"
        except SignalException as error:
            code, reason = -error.sigval, "stopped"
        else:
            return
        if not Path(spoken).exists():
            goes_on = f"{same_command(words)} goes on from the last checkpoint"
            print(f"supernet: {reason}; {goes_on}", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)
