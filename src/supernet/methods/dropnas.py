"""DropNAS: each step leaves out some operations of every edge, so that those that are kept learn without them.

Hong et al., *DropNAS: Grouped Operation Dropout for Differentiable Architecture Search*, IJCAI 2020. The operations of
an edge are two groups: those that learn weights and those that do not. In each step, for each edge:

    an operation of a group of n is dropped with probability r^(1/n); a group dropped whole is drawn again
    p = softmax(alpha over the kept operations);   only these run
    (w, alpha) <- a step along the gradient of L(w, p; B)                 one batch of all images, one backward pass
    w     <- w - eta_w decay_w w              where dL/dw is not 0        partial decay
    alpha <- alpha - eta_a decay_a alpha      where |dL/dalpha| > 1e-7
    kept alphas  <- alpha + log sum exp(kept alphas before the step) - log sum exp(kept alphas now)
    dropped ones <- as before the step

The last two lines leave every edge's total probability of the kept operations as it was under the softmax over all. The
paper has groups of four, r^(1/4) = 0.074 at r = 3e-5; here r is the probability of losing a whole group in groups of
any size, and a group of one is always kept. The decays are those of the two optimizers, which then have none.

Differences from released code. Its partial decay is an extra step of SGD with momentum and of Adam, on a sum of squares
without the factor 1/2; here decay is a plain step with the factor, which no momentum carries on: our reading, as the
paper's text was not available. A weight without a gradient, as a dropped operation's, takes no step by its momentum,
and a dropped alpha none by Adam's. Released code shifts the kept alphas only of edges of which an operation dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig
from supernet.engine.seeds import seed_of
from supernet.methods.base import Budget, Streams
from supernet.methods.gradient_method import GradientMethod
from supernet.methods.relaxation import candidate_mask, relax
from supernet.models.mix import EdgeMix, Mix, detached
from supernet.models.supernet import Supernet
from supernet.settings import Share, settings
from supernet.spaces.cell import Cell

_SMALL = 1e-7  # an alpha whose gradient is at most this large does not decay


@settings
class DropNASConfig:
    """Settings of DropNAS."""

    drop_rate: Share = 3e-5
    """probability that all operations of a group drop before they are drawn again; one of n drops with its n-th root"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", 3e-4, 1e-3)


class DropNAS(GradientMethod):
    """Learns weights and alphas from the same batch, without some operations of each edge in each step."""

    Config = DropNASConfig
    streams: ClassVar[Streams] = {"weights": "all"}
    config: DropNASConfig

    @classmethod
    def holds_out(cls, config: DropNASConfig) -> bool:
        """Return False: the weights learn from all images."""
        return False

    def __init__(self, config: DropNASConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        for group in (*self.optimizer.param_groups, *self.alphas.optimizer.param_groups):
            group["weight_decay"] = 0.0  # decay is partial, and has a step of its own
        self.groups = {kind: self._groups(cell) for kind, cell in supernet.space.cells.items()}
        self.generator = torch.Generator().manual_seed(seed_of(budget.seed, "dropped operations"))

    def _groups(self, cell: Cell) -> tuple[Tensor, Tensor]:
        """Return booleans (edges, columns): the operations that learn weights, and those that do not."""
        primitive, columns = self.supernet.space.primitive, range(cell.columns)
        learned = [[k < len(e.ops) and primitive(e.ops[k]).learned for k in columns] for e in cell.edges]
        return torch.tensor(learned), candidate_mask(cell) & ~torch.tensor(learned)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update the weights and alphas of the operations that are kept in this step."""
        kept = self.draw()
        self.alphas.optimizer.zero_grad()
        metrics = self._weight_step(batches, self.without(kept))  # its backward pass reaches alpha, too
        before = {kind: alpha.detach().clone() for kind, alpha in self.alphas.items()}
        self.alphas.step()
        decay(list(self.alphas.values()), self.alphas.optimizer, self.config.alpha.weight_decay, _SMALL)
        with torch.no_grad():
            for kind, alpha in self.alphas.items():
                alpha.copy_(shifted(alpha, before[kind], kept[kind].to(alpha.device)))
        return metrics

    def train_weights(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Update the weights of the operations that are kept in this step."""
        return self._weight_step(batches, detached(self.without(self.draw())))

    def _weight_step(self, batches: Mapping[str, Batch], mix: Mix) -> Mapping[str, Tensor]:
        metrics = self.weight_step(batches["weights"], mix)
        decay(self.weights, self.optimizer, self.budget.weights.weight_decay, 0.0)
        return metrics

    def draw(self) -> dict[str, Tensor]:
        """Draw the operations of a step; return booleans (edges, columns), True for those kept."""
        return {kind: self._draw(groups) for kind, groups in self.groups.items()}

    def _draw(self, groups: tuple[Tensor, Tensor]) -> Tensor:
        kept, again = torch.zeros_like(groups[0]), groups[0] | groups[1]
        while again.any():
            for group in groups:
                rate = self.config.drop_rate ** (1 / group.sum(-1, keepdim=True))
                kept |= again & group & (torch.rand(group.shape, generator=self.generator) >= rate)
            again = torch.stack([group & ~(group & kept).any(-1, keepdim=True) for group in groups]).any(0)
        return kept

    def without(self, kept: Mapping[str, Tensor]) -> Mix:
        """Return the mix of the kept operations, weighted by softmax over these, with gradient."""
        mix = {}
        for kind, alpha in self.alphas.items():
            active = tuple(tuple(k for k, on in enumerate(row) if on) for row in kept[kind].tolist())
            mix[kind] = EdgeMix(relax(alpha, kept[kind].to(alpha.device), "softmax"), active)
        return mix

    def mix(self) -> Mix:
        """Run all operations, weighted by softmax(alpha)."""
        return self.alphas.mix()

    def state_dict(self) -> dict[str, Any]:
        """Add the random state."""
        return super().state_dict() | {"draws": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.generator.set_state(state["draws"])


@torch.no_grad()
def decay(values: Sequence[Tensor], optimizer: torch.optim.Optimizer, weight_decay: float, least: float) -> None:
    """Take a step of the L2 penalty at the rate of `optimizer`, in entries whose gradient is larger than `least`."""
    rate = optimizer.param_groups[0]["lr"] * weight_decay
    for value in values:
        if value.grad is not None:
            value.addcmul_(value, value.grad.abs() > least, value=-rate)


def shifted(alpha: Tensor, before: Tensor, kept: Tensor) -> Tensor:
    """Return the alphas (edges, columns) after a step from `before`, with each edge's probability of `kept` as before.

    Kept alphas of an edge move by one constant, and the others are those of `before`.
    """
    total, earlier = (a.masked_fill(~kept, -torch.inf).logsumexp(-1, keepdim=True) for a in (alpha, before))
    return torch.where(kept, alpha + (earlier - total), before)
