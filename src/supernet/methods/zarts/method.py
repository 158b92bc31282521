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
weights, before the weights do. All candidates of an update share their batches: M for the lookahead steps, and
`eval_batches` of validation images, the first of which is that of the gradient.

Deliberate differences from released code:

- Its inner steps have no effect in a current PyTorch, because their optimizer holds other weights than the loss uses.
  Here they take effect; `inner_opt` "released" leaves them out.
- MGS divides by the density in its released form, as that code does: with a mistake in an exponent, and a floor of 1e-4
  that dominates it in more than about 20 dimensions. `importance` "log_space" divides by the density of the proposal
  itself, which outweighs the losses there.
- sigma is 0.2 where there are few alphas, as in the scripts for S1 to S4, and 0.025 otherwise, as in that for CIFAR-10.
- MGS draws from the mixture in the formula, not from a weighted sum: `proposal`.
- sigma is sigma0 (1 + cos(pi e/T)) / 2 in epoch e of the T after the warm-up; there the first two both have sigma0.
- GLD, by its preset, compares candidates with g(alpha) after lookahead steps. There the base takes no steps, which
  favours moving: `base_loss`. The other forms of RS and MGS need no base: it cancels in MGS's weights.
- Steps of RS and GLD are not projected onto the plane of a drawing.
- The learning rate of RS in a whole search was not available (1e-4 is that of a drawing of paths, which has eight
  candidates; here there are four).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.errors import UserError
from supernet.methods.alphas import Alphas
from supernet.methods.base import Budget, Method, Stream
from supernet.methods.zarts import estimators
from supernet.methods.zarts.config import ZeroOrderConfig
from supernet.methods.zarts.objective import CandidateBatches, Objective, parted
from supernet.models.lookahead import Lookahead, Momentum
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet

_FEW = 100  # alphas: the CIFAR-10 script has 196, the two-operation spaces of S2 and S4 have 56
_COUNTERS = ("epoch", "steps", "updates", "diagnostics")  # attributes that a checkpoint keeps


class ZeroOrder(Method):
    """Learns alphas from the losses of lookahead, and the weights as DARTS does."""

    Config = ZeroOrderConfig
    aims = True
    patient = True
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
        few = sum(self.alphas.sizes) < _FEW
        self.sigma0 = config.sigma or (0.2 if few else 0.025)
        lookahead = Lookahead(supernet, budget.weights, budget.workers, self.own_loss, budget.device)
        if not config.evaluates and budget.targets is not None:
            raise UserError(f"a target needs losses, and importance {config.importance} evaluates none: give a limit")
        for setting in () if config.evaluates else ("eval_batches", "order_check"):
            if getattr(config, setting) != getattr(ZeroOrderConfig, setting):
                raise UserError(f"setting {setting} needs losses, and importance {config.importance} evaluates none")
        momentum: Momentum = "copied" if config.inner_opt == "copied" else "fresh"
        self.objective = Objective(self.alphas, lookahead, budget.targets, self.optimizer, momentum)
        self.generator = torch.Generator().manual_seed(budget.seed)  # on the CPU: the same draws for every device
        self.epoch = self.steps = self.updates = 0  # steps in this epoch, updates since the beginning
        self.diagnostics: dict[str, list[float]] = {name: [] for name in config.measured}  # in this epoch's updates

    @property
    def streams(self) -> Mapping[str, Stream]:
        """Streams for the weights, for alpha, for further batches to evaluate on, and for all lookahead steps at once.

        That of `order_check` has two draws, without an image in common. All but the first are whole: processes share
        the candidates out.
        """
        config, streams = self.config, {"weights": Stream("train"), "alpha": Stream("validation", whole=True)}
        if config.eval_batches > 1:
            streams["evaluation"] = Stream("validation", None, config.eval_batches - 1, whole=True)
        if config.order_check:
            streams["order"] = Stream("validation", None, 2 * config.eval_batches, whole=True)
        if config.inner_steps:
            streams["inner"] = Stream(config.inner_split, config.inner_batch, config.inner_steps, whole=True)
        return streams

    @property
    def period(self) -> int:
        """The number of steps between two updates of alpha."""
        return self.every

    @property
    def sigma(self) -> float:
        """The standard deviation of MGS in this epoch."""
        if self.config.sigma_schedule == "constant":
            return self.sigma0
        progress = max(0, self.epoch - self.warmup) / (self.budget.epochs - self.warmup)
        return self.sigma0 * (1 + math.cos(math.pi * progress)) / 2

    def mix(self) -> Mix:
        """Return the op weights of the current alphas."""
        return self.alphas.mix()

    @property
    def warms_up(self) -> bool:
        """Whether the weights learn alone at first."""
        return self.warmup > 0

    def begin_epoch(self, epoch: int) -> None:
        """Begin to count the epoch's steps, and set the learning rate of the weights."""
        super().begin_epoch(epoch)
        self.epoch, self.steps = epoch, 0

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update alpha if an update is due, and then the weights."""
        valid = batches["alpha"]  # drawn in every step, so that a monitor that reads it changes nothing
        if self.epoch >= self.warmup and self.steps % self.every == 0:
            more, inner = (self._parts(batches, name) for name in ("evaluation", "inner"))
            checked = self.updates % (self.config.order_check or 1) == 0
            order = self._parts(batches, "order") if checked else []
            self.update(CandidateBatches(valid, inner, self._seed(), more), order)
        self.steps += 1
        self.objective.passes["forward_backward"] += 1
        return self.weight_step(batches["weights"], self.mix())

    def _parts(self, batches: Mapping[str, Batch], name: str) -> list[Batch]:
        """Return the parts of a stream's batch, none without the stream."""
        streams = self.streams
        return parted(batches[name], streams[name].parts) if name in streams else []

    def _seed(self) -> int:
        return int(torch.randint(2**62, (), generator=self.generator))

    def update(self, batches: CandidateBatches, order: Sequence[Batch] = ()) -> None:
        """Update alpha by the estimator; check the order of the candidates if there are batches for that."""
        step = {"rs": self._rs, "mgs": self._mgs, "gld": self._gld}[self.config.estimator](batches)
        if order and not math.isnan(correlation := self.objective.order(batches, order)):
            self.diagnostics["order_correlation"].append(correlation)
        self.objective.move(step)
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
        slopes = slopes.where(slopes.isfinite(), 0.0)  # a direction in which lookahead diverges tells no slope
        return -config.lr * estimators.gradient(slopes, directions, self.alphas.sizes, config.direction)

    def _mgs(self, batches: CandidateBatches) -> Tensor:
        config, sigma, gradient = self.config, self.sigma, self.objective.gradient(batches)
        if config.importance == "gradient":
            return -gradient
        steps = estimators.proposed(config.samples, gradient, sigma, config.lam, config.proposal, self.generator)
        if config.importance == "uniform":
            return steps.mean(0)
        losses = self.objective.values(steps, batches)
        if not losses.isfinite().any():  # then there is nothing to choose from
            return torch.zeros_like(gradient)
        shares = estimators.importance(
            losses, steps, gradient, sigma, config.tau, config.lam, config.importance, config.proposal
        )
        self.diagnostics["effective_samples"].append(estimators.effective_samples(shares))
        self.diagnostics["heaviest_rank"].append(estimators.heaviest_rank(shares, losses))
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
        self.diagnostics["accepted"].append(float(better))
        return steps[best] if better else torch.zeros_like(steps[best])

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas, the updates and passes so far, and the mean diagnostics of the estimator."""
        passes = dict(self.objective.passes)
        row: dict[str, Any] = {**self.alphas.row(), "updates": self.updates, "passes": passes}
        row |= {"sigma": self.sigma} if self.config.estimator == "mgs" else {}
        row |= {name: sum(values) / len(values) if values else None for name, values in self.diagnostics.items()}
        self.diagnostics = {name: [] for name in self.diagnostics}
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
            setattr(self, name, deepcopy(state[name]))
        self.objective.passes = dict(state["passes"])
