"""Execution: how a supernet is run in a search. It affects speed, memory and rounding.

In a space with an operation of random noise, as `s4` has, it also decides in which order the noise is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from supernet.engine.device import described
from supernet.engine.precision import Precision, precision_named
from supernet.engine.process_group import count
from supernet.errors import UserError
from supernet.models.fused import library
from supernet.models.mixed_cell import Engine
from supernet.models.supernet import Supernet


@dataclass(frozen=True)
class Execution:
    """How a supernet is run.

    - `engine`, `precision`, `checkpointing`: as for `Supernet`.
    - `graphs`: whether steps are recorded and replayed on a GPU; see `supernet.engine.cuda_graphs`.
    - `workers`: the number of processes that lookahead is spread over.
    """

    engine: Engine = "fused"
    precision: Precision = "float32"
    checkpointing: bool = False
    graphs: bool = False
    workers: int = 1

    def apply(self, supernet: Supernet) -> None:
        """Set the attributes of `supernet`."""
        supernet.engine, supernet.precision = self.engine, self.precision
        supernet.checkpointing = self.checkpointing

    def kernels(self, device: torch.device) -> str | None:
        """Return whose kernels the fused engine runs on a CPU: compiled here, or PyTorch's; None elsewhere."""
        if (self.engine, device.type) != ("fused", "cpu"):  # only then, as `library` compiles them
            return None
        return "compiled" if library() is not None else "PyTorch's"

    def on(self, device: torch.device) -> str:
        """Return a line that describes the execution on a device."""
        options = [
            *([f"{count()} processes"] if count() > 1 else []),
            *(["checkpointing"] if self.checkpointing else []),
            *(["CUDA graphs"] if self.graphs else []),
            *([f"{self.workers} workers"] if self.workers > 1 else []),
        ]
        kernels = self.kernels(device)
        engine = f"{self.engine} ({kernels} kernels)" if kernels else self.engine
        return ", ".join([f"running {engine}", self.precision, *options, f"on {described(device)}"])


def execution(
    device: torch.device,
    *,
    engine: Literal["auto", Engine] = "auto",
    precision: Literal["auto", Precision] = "auto",
    checkpointing: bool = False,
    graphs: bool | None = None,
    capturable: bool = True,
    per_step: bool = False,
    workers: int = 1,
    spreads: bool = True,
) -> Execution:
    """Return the execution on `device`, which decides about names "auto" and graphs None.

    `capturable` and `spreads` are the method's: whether its steps can be recorded, and whether it can use several
    workers. `per_step` says that the learning rate moves with every step. Raises UserError for options that the device
    or the method does not support.
    """
    if workers > 1 and not spreads:
        raise UserError("workers share the lookahead of zero-order methods; this method has no lookahead")
    if workers > 1 and count() > 1:
        raise UserError("processes that search together share the lookahead out themselves: leave --workers at 1")
    if graphs and count() > 1:
        raise UserError("CUDA graphs cannot record what processes send each other: leave out --graphs")
    if graphs and device.type != "cuda":
        raise UserError(f"CUDA graphs need a GPU, not '{device}'")
    if graphs and not capturable:
        raise UserError("CUDA graphs cannot record this method: what it runs is decided anew in every step")
    if graphs and per_step:
        raise UserError("CUDA graphs cannot record a learning rate that moves: leave out --graphs or --w.per-step")
    recorded = device.type == "cuda" and capturable and not per_step and graphs is not False and count() == 1
    chosen = "fused" if engine == "auto" else engine
    return Execution(chosen, precision_named(precision, device), checkpointing, recorded, workers)
