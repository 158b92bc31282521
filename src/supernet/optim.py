"""How weights and alphas are stepped: settings as data, optimizers and schedules made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from supernet.errors import UserError, at_least


@dataclass(frozen=True)
class Weights:
    """SGD on the supernet's weights, with a cosine schedule stepped once per epoch."""

    lr: float = 0.025
    """learning rate of the first epoch"""
    lr_min: float = 0.0
    """learning rate the cosine runs down to"""
    momentum: float = 0.9
    """momentum"""
    nesterov: bool = False
    """Nesterov's form of momentum"""
    weight_decay: float = 3e-4
    """L2 penalty"""
    clip: float = 5.0
    """largest norm of the gradient; 0 does not clip"""

    def __post_init__(self) -> None:
        at_least(0, "w.", lr=self.lr, lr_min=self.lr_min, weight_decay=self.weight_decay, clip=self.clip)
        if not 0 <= self.momentum < 1:
            raise UserError(f"setting w.momentum must be at least 0 and less than 1, not {self.momentum}")
        if self.nesterov and not self.momentum:
            raise UserError("setting w.nesterov needs a w.momentum above 0")

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.SGD:
        """Make the optimizer."""
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )

    def rate(self, epoch: int, epochs: int) -> float:
        """Return the learning rate of `epoch`, from 0: lr_min + (lr - lr_min) (1 + cos(pi epoch/epochs)) / 2."""
        return self.lr_min + 0.5 * (self.lr - self.lr_min) * (1 + math.cos(math.pi * epoch / epochs))


@dataclass(frozen=True)
class Alpha:
    """The optimizer of the architecture parameters; its learning rate is constant."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """sgd (momentum 0.9) or adam (betas 0.5, 0.999)"""
    lr: float | None = None
    """learning rate; None is the weights' first one for sgd, 3e-4 for adam"""
    weight_decay: float = 0.0
    """L2 penalty, added to the gradient"""

    def __post_init__(self) -> None:
        at_least(0, "alpha.", lr=self.lr, weight_decay=self.weight_decay)

    def make(self, parameters: Iterable[Tensor], weights: Weights) -> torch.optim.Optimizer:
        """Make the optimizer, beside that of the `weights`."""
        if self.optimizer == "adam":
            lr = 3e-4 if self.lr is None else self.lr
            return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999), weight_decay=self.weight_decay)
        lr = weights.lr if self.lr is None else self.lr
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=self.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
