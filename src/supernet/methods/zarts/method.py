"""ZARTS: zero-order search of the architecture, by what the loss would be after real steps of the weights.

Paper: Wang, Guo, Su, Yang & Yan, NeurIPS 2022, arXiv 2110.04743. Its text could not be had; what follows is the
released code, with its slips put right.

    g(alpha) = L_val(w*(alpha), alpha)         w*(alpha): the weights after M steps of SGD from where they are

g is a black box: no gradient goes through the weights, so nothing of DARTS' one-step approximation is left. A candidate
is evaluated by a trial (see `trials.py`), and alpha moves by one of three estimators (see `estimators.py`):

    rs    alpha <- alpha - lr * (the gradient of g, estimated from random directions)
    mgs   alpha <- alpha + sum_i c_i u_i,    u_i drawn about minus the first-order gradient, c_i by their losses
    gld   alpha <- alpha + the best of some u_i on ever smaller spheres, if it is better than none

There is no optimizer on alpha. After a warm-up of the weights alone it moves once every `every` steps of the weights,
before the weights do. All candidates of an update see the same batches: M inner ones, and one to be judged on.

Differences from released code, each deliberate:

- Its inner steps do nothing in a current PyTorch, as their optimizer holds other weights than those that the loss is
  taken of. Here they are steps; `inner_opt` "released" leaves them out.
- MGS divides by the density of the proposal, in log space. The released code's has a slip in an exponent, and a
  floor of 1e-4 that is all that is left of it in more than some 20 dimensions: `importance`.
- MGS draws from the mixture that the formula says, not from a weighted sum: `proposal`.
- sigma is sigma0 (1 + cos(pi e/T)) / 2 in epoch e of the T after the warm-up; there the first two both have sigma0.
- GLD compares candidates to g(alpha), inner steps included, by its preset. There the base takes none, which favours
  moving: `base_loss`. RS in its other forms and MGS need no base: from MGS's weights it cancels out.
- Steps of RS and GLD are not projected onto the plane of a drawing.
- The learning rate of RS in a whole search was not to be had (1e-4 is that of a drawing of paths): with the default
  alpha moves about half as far as by MGS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.errors import UserError
from supernet.methods.alphas import Alphas
from supernet.methods.base import Budget, Method, Stream
from supernet.methods.zarts import estimators
from supernet.methods.zarts.config import ZeroOrderConfig
from supernet.methods.zarts.objective import CandidateBatches, Objective
from supernet.methods.zarts.penalty import Penalty
from supernet.models.lookahead import Lookahead, Momentum
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet

_COUNTED = ("epoch", "number", "updates", "told")  # attributes that are plain data


class ZeroOrder(Method):
    """Alphas per kind of cell, learned from the losses of trials; the weights learn as in DARTS."""

    Config = ZeroOrderConfig
    spreads = True
    config: ZeroOrderConfig

    def __init__(self, config: ZeroOrderConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.warmup = budget.epochs // 5 if config.warmup is None else config.warmup
        if self.warmup >= budget.epochs:
            raise UserError(f"setting warmup must be less than epochs ({budget.epochs}), not {self.warmup}")
        self.every = config.every or max(1, config.steps)
        self.alphas = Alphas(supernet.space, config.activation, config.sigmoid_init, budget.seed, self.weights[0])
        trials, penalty = Lookahead(supernet, budget.weights, budget.workers), Penalty(config.penalty, budget.price)
        momentum: Momentum = "copied" if config.inner_opt == "copied" else "fresh"
        self.objective = Objective(self.alphas, trials, penalty, self.optimizer, momentum)
        self.generator = torch.Generator().manual_seed(budget.seed)  # the CPU's: the same draws on every device
        self.epoch = self.number = self.updates = 0  # the number is that of the step in the epoch
        self.told: list[float] = []  # of each update of the epoch, what the estimator says of it

    @property
    def streams(self) -> Mapping[str, Stream]:
        """The weights', alpha's to judge candidates on, and, in one batch, all that a trial steps on."""
        streams = {"weights": Stream("train"), "alpha": Stream("validation")}
        if not self.config.inner_steps:
            return streams
        return streams | {"inner": Stream(self.config.inner_split, self.config.inner_steps * self.config.inner_batch)}

    @property
    def period(self) -> int:
        """Alpha moves once in so many steps."""
        return self.every

    @property
    def sigma(self) -> float:
        """The standard deviation of MGS in this epoch."""
        if self.config.sigma_schedule == "constant":
            return self.config.sigma
        done = max(0, self.epoch - self.warmup) / (self.budget.epochs - self.warmup)
        return self.config.sigma * (1 + math.cos(math.pi * done)) / 2

    def mix(self) -> Mix:
        """Return the op weights of the current alphas."""
        return self.alphas.mix()

    def begin_epoch(self, epoch: int) -> None:
        """Note which epoch it is, and set the weights' learning rate."""
        super().begin_epoch(epoch)
        self.epoch, self.number = epoch, 0

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Alpha first, if it is time, and then the weights."""
        valid = batches["alpha"]  # drawn in every step, so that a monitor that looks at it changes nothing
        if self.epoch >= self.warmup and self.number % self.every == 0:
            self._update(CandidateBatches(valid, self._inner(batches), self._seed()))
        self.number += 1
        self.objective.passes["forward_backward"] += 1
        return self.weight_step(batches["weights"], self.mix())

    def _inner(self, batches: Mapping[str, Batch]) -> list[Batch]:
        """Return the batches of a trial's steps; where there are fewer images than steps, some are seen again."""
        count = self.config.inner_steps
        if not count:
            return []
        drawn = batches["inner"]
        images = len(drawn.y)
        size = max(1, images // count)
        starts = [number * size % images for number in range(count)]
        return [Batch(*(part[start : start + size] for part in drawn)) for start in starts]

    def _seed(self) -> int:
        return int(torch.randint(2**62, (), generator=self.generator))

    def _update(self, seen: CandidateBatches) -> None:
        """Move alpha."""
        move = {"rs": self._rs, "mgs": self._mgs, "gld": self._gld}[self.config.estimator]
        self.objective.move(move(seen))
        self.updates += 1

    def _rs(self, seen: CandidateBatches) -> Tensor:
        config, count = self.config, self.config.samples
        if config.direction == "sphere":
            directions = estimators.spherical(count, self.alphas.sizes, self.generator)
        else:
            directions = estimators.normal((count, sum(self.alphas.sizes)), self.generator)
        steps = config.delta * directions
        match config.form:
            case "antithetic":
                plus, minus = self.objective.objectives(torch.cat([steps, -steps]), seen).chunk(2)
                slopes = (plus - minus) / (2 * config.delta)
            case "two_point":
                base, plus = self._compared(steps, seen)
                slopes = (plus - base) / config.delta
            case "one_point":
                slopes = self.objective.objectives(steps, seen) / config.delta
        return -config.lr * estimators.gradient(slopes, directions, self.alphas.sizes, config.direction)

    def _mgs(self, seen: CandidateBatches) -> Tensor:
        config, sigma, gradient = self.config, self.sigma, self.objective.gradient(seen)
        steps = estimators.proposed(config.samples, gradient, sigma, config.lam, config.proposal, self.generator)
        shares = estimators.importance(
            self.objective.objectives(steps, seen),
            steps,
            gradient,
            sigma,
            config.tau,
            config.lam,
            config.importance,
            config.proposal,
        )
        self.told.append(estimators.effective_samples(shares))
        return shares @ steps

    def _compared(self, steps: Tensor, seen: CandidateBatches) -> tuple[Tensor, Tensor]:
        return self.objective.compared(steps, seen, base_steps=self.config.base_loss == "with_inner")

    def _gld(self, seen: CandidateBatches) -> Tensor:
        cells = self.supernet.space.cells.values()
        radii = estimators.radii(self.config.radius, max(len(cell.edges) for cell in cells), max(self.alphas.sizes))
        directions = estimators.spherical(len(radii), self.alphas.sizes, self.generator)
        steps = torch.tensor(radii, dtype=directions.dtype)[:, None] * directions
        base, found = self._compared(steps, seen)
        best = int(found.argmin())
        better = bool(found[best] < base)
        self.told.append(float(better))
        return steps[best] if better else torch.zeros_like(steps[best])

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas, what has been spent so far, and how well the estimator did in this epoch."""
        found: dict[str, Any] = {
            "alphas": self.alphas.lists(),
            "updates": self.updates,
            "passes": dict(self.objective.passes),
        }
        mean = sum(self.told) / len(self.told) if self.told else None
        self.told = []
        if self.config.estimator == "mgs":
            found |= {"sigma": self.sigma, "effective_samples": mean}
        elif self.config.estimator == "gld":
            found |= {"accepted": mean}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Add the alphas, the random state, the place in the schedule, and what is to be reported."""
        own = {name: getattr(self, name) for name in _COUNTED} | {"passes": self.objective.passes}
        return super().state_dict() | own | {"alphas": self.alphas.state_dict(), "draws": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.alphas.load_state_dict(state["alphas"])
        self.generator.set_state(state["draws"].cpu())
        for name in _COUNTED:
            setattr(self, name, copy(state[name]))
        self.objective.passes = dict(state["passes"])
