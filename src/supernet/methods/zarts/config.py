"""Settings of zero-order search."""

from __future__ import annotations

from typing import Literal

from supernet.methods.relaxation import Activation, SigmoidInit
from supernet.methods.zarts.estimators import Direction, Importance, Proposal
from supernet.settings import Count, Fraction, Positive, Real, Whole, settings


@settings
class ZeroOrderConfig:
    """Settings of a zero-order search."""

    estimator: Literal["rs", "mgs", "gld"] = "mgs"
    """update of alpha: random search, maximum-likelihood guided search or gradientless descent"""
    activation: Activation = "softmax"
    """function from alpha to op weights"""
    sigmoid_init: SigmoidInit = "inv_n"
    """first op weight under sigmoid: 1/n (inv_n) or 1/2 (zero)"""
    samples: Count = 4
    """candidates per update of alpha, for rs and mgs"""
    steps: Whole = 10
    """lookahead steps of the weights for each candidate"""
    every: Count | None = None
    """steps of the weights between two updates of alpha; None is the number of lookahead steps"""
    warmup: Whole | None = None
    """epochs at the beginning that train the weights alone; None is a fifth of all"""
    eval_batches: Count = 1
    """batches of validation images on which every candidate of an update is evaluated"""
    order_check: Count | None = None
    """updates between two checks whether other validation images put the candidates in the same order; None checks none
    """
    inner_batch: Count = 48
    """images in each lookahead step"""
    inner_split: Literal["validation", "train"] = "validation"
    """images of the lookahead steps: validation images, as released, or those that train the weights"""
    inner_opt: Literal["fresh", "copied", "released"] = "fresh"
    """initial momentum of lookahead: none, or a copy of the weights'; released takes no steps, as that code does"""
    base_loss: Literal["no_inner", "with_inner"] = "no_inner"
    """base loss of gld and two-point rs: that of alpha now without lookahead steps, or with them"""
    sigma: Positive | None = None
    """standard deviation of mgs's candidates; None is 0.2 for fewer than 100 alphas, else 0.025"""
    sigma_schedule: Literal["cosine", "constant"] = "cosine"
    """cosine reduces sigma to 0 over the epochs after the warm-up"""
    tau: Positive = 0.01
    """temperature of mgs: a loss higher by tau has a weight smaller by the factor e"""
    lam: Fraction = 1e-3
    """share of mgs's candidates centred on alpha instead of a gradient step away"""
    importance: Importance = "released"
    """weights of mgs, divided by the density (log_space), its released form, or that without its mistake; uniform gives
    all candidates equal weights, and gradient steps by -G alone"""
    proposal: Proposal = "mixture"
    """proposal of mgs: the mixture of two normal distributions, or their weighted sum, as released"""
    form: Literal["antithetic", "two_point", "one_point"] = "antithetic"
    """finite difference of rs"""
    direction: Direction = "sphere"
    """directions of rs: on a unit sphere for each kind of cell, or standard normal"""
    delta: Positive = 0.1
    """distance of rs's finite difference"""
    lr: Real = 0.1
    """learning rate of rs"""
    radius: Positive | None = 0.13
    """largest radius of gld; None is twice the number of edges"""

    @property
    def evaluates(self) -> bool:
        """Whether candidates are evaluated: two forms of mgs ask for no losses."""
        return self.estimator != "mgs" or self.importance not in ("uniform", "gradient")

    @property
    def measured(self) -> list[str]:
        """The names of what is measured in an update of alpha."""
        by_estimator = {"rs": [], "mgs": ["effective_samples", "heaviest_rank"], "gld": ["accepted"]}
        return by_estimator[self.estimator] + ["order_correlation"] * bool(self.order_check)

    @property
    def inner_steps(self) -> int:
        """The number of lookahead steps for each candidate."""
        return self.steps if self.evaluates and self.inner_opt != "released" else 0
