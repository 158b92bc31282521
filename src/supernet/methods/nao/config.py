"""The settings of NAO-V2: the paper's by default, for its own space (Luo et al., 2019, arXiv 1909.10815, v2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.errors import UserError, at_least
from supernet.methods.nao.controller_config import ControllerConfig


@dataclass(frozen=True)
class StandaloneConfig:
    """How the best few are trained in the end, each as a network of its own."""

    dropout: float = 0.4
    """probability that a feature before the classifier is dropped"""
    drop_path: float = 0.2
    """probability that a path of a cell is dropped for an image, by the end"""
    auxiliary: float = 0.4
    """weight of the loss of a second classifier; 0 has none"""

    def __post_init__(self) -> None:
        at_least(0, "alone.", dropout=self.dropout, drop_path=self.drop_path, auxiliary=self.auxiliary)
        if max(self.dropout, self.drop_path) >= 1:
            raise UserError("settings alone.dropout and alone.drop-path must be less than 1")


@dataclass(frozen=True)
class NAOConfig:
    """Settings of NAO-V2."""

    iterations: int = 4
    """times that a supernet is trained and all architectures so far are judged by it"""
    pool: int = 1000
    """random architectures that the first supernet is trained on"""
    new: int = 300
    """architectures that the controller makes for each of the others"""
    sampling: Literal["params", "uniform"] = "params"
    """how often an architecture is trained: in proportion to its parameters, or all alike"""
    reinit: Literal["all", "lr", "none"] = "all"
    """what begins anew with an iteration: weights, momentum and learning rate; the learning rate alone; nothing"""
    evaluation: Literal["fixed", "batch"] = "fixed"
    """images that architectures are judged on: the same ones for all, or others for each"""
    eval_images: int | None = None
    """how many images; None is all of the second half, or 500 for evaluation batch"""
    drop_path: float = 0.1
    """probability that a path of the supernet's last cell is dropped for an image, by the end of an iteration"""
    controller: ControllerConfig = ControllerConfig()
    final: int = 5
    """architectures that are trained alone in the end; 0 takes the supernet's word"""
    final_epochs: int = 10
    """epochs that each of them is trained for"""
    alone: StandaloneConfig = StandaloneConfig()

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations, pool=self.pool, new=self.new, eval_images=self.eval_images)
        at_least(1, final_epochs=self.final_epochs)
        at_least(0, final=self.final, drop_path=self.drop_path)
        if self.drop_path >= 1:
            raise UserError(f"setting drop-path must be less than 1, not {self.drop_path}")
