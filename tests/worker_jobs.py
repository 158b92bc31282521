"""What worker processes do in the tests; they import this module and not the tests themselves."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from supernet.engine.workers import WorkerPool
from supernet.errors import UserError


class Jobs:
    """Counts its jobs; some of them fail, end the process, or start a process of its own that keeps a file open."""

    def __init__(self, device: torch.device) -> None:
        self.count, self.device = 0, device

    def __call__(self, job: object) -> tuple[int, int, int]:
        self.count += 1
        if job == "fail":
            raise ZeroDivisionError("of no use")
        if job == "mistake":
            raise UserError("that is wrong")
        if job == "die":
            os._exit(3)
        if isinstance(job, Path):
            self.open = job.open("w")
        if isinstance(job, list):
            self.pool = WorkerPool(Jobs, [self.device])
            self.pool(job)
        return self.count, os.getpid(), torch.get_num_threads()
