"""Fixtures that the tests share, and one thread per worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    _threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ["OMP_NUM_THREADS"] = str(_threads)

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from supernet import cli, registry
from supernet.spaces import SearchSpace
from supernet.spaces.modules import Noise
from supernet.testing import ragged_space

Call = Callable[..., tuple[int, str, str]]

settings.register_profile("supernet", deadline=None)  # no test depends on time
settings.load_profile("supernet")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(_threads)


@pytest.fixture
def still_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of the operation `noise` is the same in every run, so that two forward passes can be compared."""

    def forward(self: Noise, x: Tensor) -> Tensor:
        shape = (x.shape[0], self.cout, -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return drawn.to(x.dtype)

    monkeypatch.setattr(Noise, "forward", forward)


@pytest.fixture
def ragged() -> SearchSpace:
    return ragged_space()


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(registry, "OWN", [])
        try:
            cli.main(arguments)
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run
