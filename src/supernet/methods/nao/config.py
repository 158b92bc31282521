"""Settings of NAO-V2; the defaults are the paper's for its own space (Luo et al., 2019, arXiv 1909.10815, v2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.errors import UserError, at_least
from supernet.methods.nao.controller_config import ControllerConfig


@dataclass(frozen=True)
class StandaloneConfig:
    """Settings of the standalone training of the best architectures at the end."""

    dropout: float = 0.4
    """dropout probability of the features before the classifier"""
    drop_path: float = 0.2
    """probability, in the last epoch, that a path of a cell is dropped for an image"""
    auxiliary: float = 0.4
    """weight of the auxiliary classifier's loss; 0 builds none"""

    def __post_init__(self) -> None:
        at_least(0, "alone.", dropout=self.dropout, drop_path=self.drop_path, auxiliary=self.auxiliary)
        if max(self.dropout, self.drop_path) >= 1:
            raise UserError("settings alone.dropout and alone.drop-path must be less than 1")


@dataclass(frozen=True)
class NAOConfig:
    """Settings of NAO-V2."""

    iterations: int = 4
    """supernets that are trained, each followed by an evaluation of all architectures so far"""
    pool: int = 1000
    """random architectures that train the first supernet"""
    new: int = 300
    """architectures from the controller that train each of the other supernets"""
    sampling: Literal["params", "uniform"] = "params"
    """probability that a step trains an architecture: proportional to its parameters, or uniform"""
    reinit: Literal["all", "lr", "none"] = "all"
    """reset by a new iteration: weights, momentum and learning rate (all), the learning rate alone, or nothing"""
    evaluation: Literal["fixed", "batch"] = "fixed"
    """validation images: the same ones for all architectures, or a random batch for each"""
    eval_images: int | None = None
    """number of validation images; None is all, or 500 with evaluation batch"""
    drop_path: float = 0.1
    """probability, in the last epoch of an iteration, that a path of the last cell is dropped for an image"""
    controller: ControllerConfig = ControllerConfig()
    final: int = 5
    """best architectures that get standalone training at the end; 0 takes the supernet's best"""
    final_epochs: int = 10
    """epochs of standalone training of each"""
    alone: StandaloneConfig = StandaloneConfig()

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations, pool=self.pool, new=self.new, eval_images=self.eval_images)
        at_least(1, final_epochs=self.final_epochs)
        at_least(0, final=self.final, drop_path=self.drop_path)
        if self.drop_path >= 1:
            raise UserError(f"setting drop-path must be less than 1, not {self.drop_path}")
