"""The settings of zero-order search, and which of them go together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from supernet.errors import UserError, at_least
from supernet.methods.relaxation import Activation, SigmoidInit
from supernet.methods.zarts.estimators import Direction, Importance, Proposal


@dataclass(frozen=True)
class ZeroOrderConfig:
    """Settings of a zero-order search."""

    estimator: Literal["rs", "mgs", "gld"] = "mgs"
    """how alpha is moved: random search, maximum-likelihood guided search or gradientless descent"""
    activation: Activation = "softmax"
    """how alpha becomes op weights"""
    sigmoid_init: SigmoidInit = "inv_n"
    """sigmoid starts at weight 1/n (inv_n) or 1/2 (zero)"""
    samples: int = 4
    """candidates per update of alpha, of rs and mgs"""
    steps: int = 10
    """steps of the weights in each trial of a candidate"""
    every: int | None = None
    """steps of the weights between two updates of alpha; None is as many as a trial has"""
    warmup: int | None = None
    """epochs of the weights alone at the beginning; None is a fifth of all"""
    inner_batch: int = 48
    """images in each step of a trial"""
    inner_split: Literal["validation", "train"] = "validation"
    """half of the images that trials step on: alpha's own, as released, or that of the weights"""
    inner_opt: Literal["fresh", "copied", "released"] = "fresh"
    """momentum of a trial's steps: none so far, or that of the weights; released takes no steps, as that code does"""
    base_loss: Literal["no_inner", "with_inner"] = "no_inner"
    """loss that candidates are compared to, of gld and two-point rs: before any step, or after as many"""
    sigma: float = 0.025
    """standard deviation of mgs's candidates"""
    sigma_schedule: Literal["cosine", "constant"] = "cosine"
    """cosine lets it fall to 0 over the epochs after the warm-up"""
    tau: float = 0.01
    """temperature of mgs: a loss that is higher by as much weighs 1/e"""
    lam: float = 1e-3
    """share of mgs's candidates about where alpha is, not where the gradient points"""
    importance: Importance = "log_space"
    """what mgs's weights are divided by: the density, the released form of it, or that with its slip put right"""
    proposal: Proposal = "mixture"
    """what mgs draws from: the mixture of two normal distributions, or their weighted sum, as released"""
    form: Literal["antithetic", "two_point", "one_point"] = "antithetic"
    """losses that a slope of rs is taken from"""
    direction: Direction = "sphere"
    """directions of rs: on a unit sphere for every kind of cell, or normal numbers"""
    delta: float = 0.1
    """distance that rs looks along a direction"""
    lr: float = 0.1
    """learning rate of rs"""
    radius: float | None = 0.13
    """largest radius of gld; None is twice the number of edges"""
    penalty: str = ""
    """costs added to the loss, relative to the largest: flops=0.1,latency=0.2; also params, and a table's latencies"""

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples, every=self.every, inner_batch=self.inner_batch)
        at_least(0, steps=self.steps, warmup=self.warmup, lr=self.lr, lam=self.lam)
        for name in ("sigma", "tau", "delta", "radius"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"setting {name} must be above 0, not {value}")
        if self.lam > 1:
            raise UserError(f"setting lam is a share, at most 1, not {self.lam}")

    @property
    def inner_steps(self) -> int:
        """Those that a trial takes."""
        return 0 if self.inner_opt == "released" else self.steps
