"""ZARTS: zero-order search of the architecture, by the loss after lookahead steps of the weights.

Paper: Wang, Guo, Su, Yang & Yan, NeurIPS 2022, arXiv 2110.04743. Its text was not available; the following is the
released code with its mistakes corrected.

    g(alpha) = L_val(w*(alpha), alpha)         w*(alpha): the weights after M steps of SGD from the current ones

g is a black box: no gradient goes through the weights, so nothing remains of DARTS' one-step approximation. A candidate
is evaluated by lookahead (see `supernet.models.lookahead`), and alpha moves by one of three estimators (see
`estimators.py`):

    rs    alpha <- alpha - lr * (the gradient of g, estimated from random directions)
    mgs   alpha <- alpha + sum_i c_i u_i,    u_i drawn around minus the first-order gradient, c_i from their losses
    gld   alpha <- alpha + the best of several u_i on ever smaller spheres, if its loss is below g(alpha)

Alpha has no optimizer. After a warm-up that trains the weights alone, alpha moves once every `every` steps of the
weights, before the weights do. All candidates of an update share their batches: M for the lookahead steps, and one of
validation images.

Deliberate differences from released code:

- Its inner steps have no effect in a current PyTorch, because their optimizer holds other weights than the loss uses.
  Here they take effect; `inner_opt` "released" leaves them out.
- MGS divides by the density of the proposal, in log space. The released density has a mistake in an exponent, and a
  floor of 1e-4 that dominates it in more than about 20 dimensions: `importance`.
- MGS draws from the mixture in the formula, not from a weighted sum: `proposal`.
- sigma is sigma0 (1 + cos(pi e/T)) / 2 in epoch e of the T after the warm-up; there the first two both have sigma0.
- GLD, by its preset, compares candidates with g(alpha) after lookahead steps. There the base takes no steps, which
  favours moving: `base_loss`. The other forms of RS and MGS need no base: it cancels in MGS's weights.
- Steps of RS and GLD are not projected onto the plane of a drawing.
- The learning rate of RS in a whole search was not available (1e-4 is that of a drawing of paths): with the default,
  alpha moves about half as far as under MGS.
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
from supernet.methods.base import Budget, Method, Stream, Streams
from supernet.methods.zarts import estimators
from supernet.methods.zarts.config import ZeroOrderConfig
from supernet.methods.zarts.objective import CandidateBatches, Objective
from supernet.models.lookahead import Lookahead, Momentum
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet

_COUNTERS = ("epoch", "steps", "updates", "diagnostics")  # attributes that a checkpoint keeps


class ZeroOrder(Method):
    """Learns alphas from the losses of lookahead, and the weights as DARTS does."""

    Config = ZeroOrderConfig
    aims = True
    spreads = True
    fixed_epochs = "its warm-up and its sigma follow the number of epochs"
    config: ZeroOrderConfig

    def __init__(self, config: ZeroOrderConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.warmup = budget.epochs // 5 if config.warmup is None else config.warmup
        if self.warmup >= budget.epochs:
            raise UserError(f"setting warmup must be less than epochs ({budget.epochs}), not {self.warmup}")
        self.every = config.every or max(1, config.steps)
        self.alphas = Alphas(supernet.space, config.activation, config.sigmoid_init, budget.seed, self.weights[0])
        lookahead = Lookahead(supernet, budget.weights, budget.workers, self.own_loss)
        momentum: Momentum = "copied" if config.inner_opt == "copied" else "fresh"
        self.objective = Objective(self.alphas, lookahead, budget.targets, self.optimizer, momentum)
        self.generator = torch.Generator().manual_seed(budget.seed)  # on the CPU: the same draws for every device
        self.epoch = self.steps = self.updates = 0  # steps in this epoch, updates since the beginning
        self.diagnostics: list[float] = []  # of this epoch's updates: effective samples (mgs), accepted or not (gld)

    @property
    def streams(self) -> Streams:
        """One stream for the weights, one for alpha, and one whose batch holds the images of all lookahead steps."""
        streams = {"weights": Stream("train"), "alpha": Stream("validation", whole=True)}  # candidates are shared out
        if not self.config.inner_steps:
            return streams
        steps = self.config.inner_steps
        return streams | {"inner": Stream(self.config.inner_split, steps * self.config.inner_batch, steps, whole=True)}

    @property
    def period(self) -> int:
        """The number of steps between two updates of alpha."""
        return self.every

    @property
    def sigma(self) -> float:
        """The standard deviation of MGS in this epoch."""
        if self.config.sigma_schedule == "constant":
            return self.config.sigma
        progress = max(0, self.epoch - self.warmup) / (self.budget.epochs - self.warmup)
        return self.config.sigma * (1 + math.cos(math.pi * progress)) / 2

    def mix(self) -> Mix:
        """Return the op weights of the current alphas."""
        return self.alphas.mix()

    def begin_epoch(self, epoch: int) -> None:
        """Begin to count the epoch's steps, and set the learning rate of the weights."""
        super().begin_epoch(epoch)
        self.epoch, self.steps = epoch, 0

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update alpha if an update is due, and then the weights."""
        valid = batches["alpha"]  # drawn in every step, so that a monitor that reads it changes nothing
        if self.epoch >= self.warmup and self.steps % self.every == 0:
            self.update(CandidateBatches(valid, self.inner_batches(batches), self._seed()))
        self.steps += 1
        self.objective.passes["forward_backward"] += 1
        return self.weight_step(batches["weights"], self.mix())

    def inner_batches(self, batches: Mapping[str, Batch]) -> list[Batch]:
        """Return the batches of the lookahead steps; images repeat if there are fewer images than steps."""
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

    def update(self, batches: CandidateBatches) -> None:
        """Update alpha by the estimator."""
        step = {"rs": self._rs, "mgs": self._mgs, "gld": self._gld}[self.config.estimator]
        self.objective.move(step(batches))
        self.updates += 1

    def _rs(self, batches: CandidateBatches) -> Tensor:
        config, count = self.config, self.config.samples
        if config.direction == "sphere":
            directions = estimators.spherical(count, self.alphas.sizes, self.generator)
        else:
            directions = estimators.normal((count, sum(self.alphas.sizes)), self.generator)
        steps = config.delta * directions
        match config.form:
            case "antithetic":
                plus, minus = self.objective.values(torch.cat([steps, -steps]), batches).chunk(2)
                slopes = (plus - minus) / (2 * config.delta)
            case "two_point":
                base, plus = self._with_base(steps, batches)
                slopes = (plus - base) / config.delta
            case "one_point":
                slopes = self.objective.values(steps, batches) / config.delta
        return -config.lr * estimators.gradient(slopes, directions, self.alphas.sizes, config.direction)

    def _mgs(self, batches: CandidateBatches) -> Tensor:
        config, sigma, gradient = self.config, self.sigma, self.objective.gradient(batches)
        steps = estimators.proposed(config.samples, gradient, sigma, config.lam, config.proposal, self.generator)
        shares = estimators.importance(
            self.objective.values(steps, batches),
            steps,
            gradient,
            sigma,
            config.tau,
            config.lam,
            config.importance,
            config.proposal,
        )
        self.diagnostics.append(estimators.effective_samples(shares))
        return shares @ steps

    def _with_base(self, steps: Tensor, batches: CandidateBatches) -> tuple[Tensor, Tensor]:
        return self.objective.with_base(steps, batches, base_steps=self.config.base_loss == "with_inner")

    def _gld(self, batches: CandidateBatches) -> Tensor:
        cells = self.supernet.space.cells.values()
        radii = estimators.radii(self.config.radius, max(len(cell.edges) for cell in cells), max(self.alphas.sizes))
        directions = estimators.spherical(len(radii), self.alphas.sizes, self.generator)
        steps = torch.tensor(radii, dtype=directions.dtype)[:, None] * directions
        base, values = self._with_base(steps, batches)
        best = int(values.argmin())
        better = bool(values[best] < base)
        self.diagnostics.append(float(better))
        return steps[best] if better else torch.zeros_like(steps[best])

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas, the updates and passes so far, and the mean diagnostics of the estimator."""
        passes = dict(self.objective.passes)
        row: dict[str, Any] = {**self.alphas.row(), "updates": self.updates, "passes": passes}
        mean = sum(self.diagnostics) / len(self.diagnostics) if self.diagnostics else None
        self.diagnostics = []
        if self.config.estimator == "mgs":
            row |= {"sigma": self.sigma, "effective_samples": mean}
        elif self.config.estimator == "gld":
            row |= {"accepted": mean}
        return row

    def state_dict(self) -> dict[str, Any]:
        """Add the alphas, the random state, the counters and the diagnostics of this epoch."""
        counters = {name: getattr(self, name) for name in _COUNTERS} | {"passes": self.objective.passes}
        draws = self.generator.get_state()
        return super().state_dict() | counters | self.alphas.state_dict() | {"draws": draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.alphas.load_state_dict(state)
        self.generator.set_state(state["draws"].cpu())
        for name in _COUNTERS:
            setattr(self, name, copy(state[name]))
        self.objective.passes = dict(state["passes"])
