"""Execution: how a supernet is run while it is searched. It changes speed, memory and rounding, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import torch

from supernet.engine.device import described
from supernet.engine.precision import Precision, precision_named
from supernet.errors import UserError, at_least, unknown
from supernet.models.fused import library
from supernet.models.mixed_cell import Engine
from supernet.models.supernet import Supernet

ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True)
class Execution:
    """How a supernet is run, with every choice made.

    `engine`, `precision` and `checkpointing` are those of the supernet. `graphs`: on a GPU, a step is recorded once per
    epoch and replayed (CUDA graphs), see `supernet.engine.cuda_graphs`. `workers`: processes that trials are spread over.
    """

    engine: Engine = "fused"
    precision: Precision = "float32"
    checkpointing: bool = False
    graphs: bool = False
    workers: int = 1

    @property
    def config(self) -> dict[str, Any]:
        """What of it a run is compared by when it goes on: graphs and workers do the same arithmetic, and are not."""
        return {"engine": self.engine, "precision": self.precision, "checkpointing": self.checkpointing}

    def apply(self, supernet: Supernet) -> None:
        """Let `supernet` be run so."""
        supernet.engine, supernet.precision = self.engine, self.precision
        supernet.checkpointing = self.checkpointing

    def on(self, device: torch.device) -> str:
        """Say it in a line, with the device."""
        also = [
            *(["checkpointing"] if self.checkpointing else []),
            *(["CUDA graphs"] if self.graphs else []),
            *([f"{self.workers} workers"] if self.workers > 1 else []),
        ]
        engine: str = self.engine
        if (engine, device.type) == ("fused", "cpu"):  # no other engine has a use for the kernels: nothing is compiled
            kernels = "compiled" if library() is not None else "PyTorch's"
            engine = f"fused ({kernels} kernels)"
        return ", ".join([f"running {engine}", self.precision, *also, f"on {described(device)}"])


def execution(
    device: torch.device,
    *,
    engine: str = "auto",
    precision: str = "auto",
    checkpointing: bool = False,
    graphs: bool | None = None,
    capturable: bool = True,
    workers: int = 1,
    spreads: bool = True,
) -> Execution:
    """Make the choices that are left to `device`: "auto" for names, None for the graphs.

    `capturable`: whether the method's step can be recorded. `spreads`: whether it has work for several `workers`.
    Raises UserError for a name that is none, and for what the device or the method does not have.
    """
    at_least(1, workers=workers)
    if workers > 1 and not spreads:
        raise UserError("workers share the trials of zero-order methods; this method has none to share")
    if graphs and device.type != "cuda":
        raise UserError(f"CUDA graphs need a GPU, not '{device}'")
    if graphs and not capturable:
        raise UserError("CUDA graphs cannot record this method, which decides anew in every step what to run")
    recorded = device.type == "cuda" and capturable and graphs is not False
    return Execution(engine_named(engine), precision_named(precision, device), checkpointing, recorded, workers)


def engine_named(name: str) -> Engine:
    """Return the engine of that name, and the fused one for "auto"; raises UserError for a name that is none."""
    if name == "auto":
        return "fused"
    for known in ENGINES:
        if name == known:
            return known
    raise unknown("engine", name, ["auto", *ENGINES])
