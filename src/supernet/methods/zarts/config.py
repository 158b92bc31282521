"""Settings of zero-order search."""

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
    """update of alpha: random search, maximum-likelihood guided search or gradientless descent"""
    activation: Activation = "softmax"
    """function from alpha to op weights"""
    sigmoid_init: SigmoidInit = "inv_n"
    """first op weight under sigmoid: 1/n (inv_n) or 1/2 (zero)"""
    samples: int = 4
    """candidates per update of alpha, for rs and mgs"""
    steps: int = 10
    """lookahead steps of the weights for each candidate"""
    every: int | None = None
    """steps of the weights between two updates of alpha; None is the number of lookahead steps"""
    warmup: int | None = None
    """epochs at the beginning that train the weights alone; None is a fifth of all"""
    inner_batch: int = 48
    """images in each lookahead step"""
    inner_split: Literal["validation", "train"] = "validation"
    """images of the lookahead steps: validation images, as released, or those that train the weights"""
    inner_opt: Literal["fresh", "copied", "released"] = "fresh"
    """initial momentum of lookahead: none, or a copy of the weights'; released takes no steps, as that code does"""
    base_loss: Literal["no_inner", "with_inner"] = "no_inner"
    """base loss of gld and two-point rs: that of alpha now without lookahead steps, or with them"""
    sigma: float = 0.025
    """standard deviation of mgs's candidates"""
    sigma_schedule: Literal["cosine", "constant"] = "cosine"
    """cosine reduces sigma to 0 over the epochs after the warm-up"""
    tau: float = 0.01
    """temperature of mgs: a loss higher by tau has a weight smaller by the factor e"""
    lam: float = 1e-3
    """share of mgs's candidates centred on alpha instead of a gradient step away"""
    importance: Importance = "log_space"
    """divisor of mgs's weights: the density, its released form, or that form with its mistake corrected"""
    proposal: Proposal = "mixture"
    """proposal of mgs: the mixture of two normal distributions, or their weighted sum, as released"""
    form: Literal["antithetic", "two_point", "one_point"] = "antithetic"
    """finite difference of rs"""
    direction: Direction = "sphere"
    """directions of rs: on a unit sphere for each kind of cell, or standard normal"""
    delta: float = 0.1
    """distance of rs's finite difference"""
    lr: float = 0.1
    """learning rate of rs"""
    radius: float | None = 0.13
    """largest radius of gld; None is twice the number of edges"""
    penalty: str = ""
    """weighted costs, relative to the largest, added to the loss: flops=0.1,latency=0.2 (also params, ...)"""

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
        """The number of lookahead steps for each candidate."""
        return 0 if self.inner_opt == "released" else self.steps
