"""R-DARTS: second-order DARTS whose weights are regularised more, so that alpha stays in flat regions.

Zela et al., ICLR 2020, arXiv 1909.09656. The gradient of alpha is that of `unrolled.py`. With E epochs, counted from 0:

    L2:  L1(w) + factor * decay / 2 ||w||^2          factor 3, 9, 27 or 81 times the usual decay of 3e-4
    DP:  in epoch e, drop-path with probability p e/(E - 1), and cutout with probability q e/(E - 1)

Drop-path drops a whole mixed edge, the sum of its candidates, for an image, as in released code. In a chain of edges,
as those of `mobile`, it drops operations as a network does, so that something leads through.

Deliberate differences from released code. A finite difference needs one function: the three passes on the weights'
batch drop the same paths. The side of the cutout is the setting `cutout` of the search; 0 means none. Where p is 0,
released code cuts nothing out; here q (`cutout_probability`, 1 there as well) and the side alone decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.models.supernet import Supernet
from supernet.settings import Fraction, Real, Share, settings


@settings
class RobustL2Config(DifferentiableConfig):
    """Settings of R-DARTS by weight decay."""

    decay_factor: Real = 1.0
    """times the weight decay of the weights (w.weight-decay); published: 3, 9, 27 and 81"""


class RobustL2(Differentiable):
    """Learns alphas as DARTS does, with more weight decay on the weights."""

    Config = RobustL2Config
    capturable = True
    config: RobustL2Config

    def __init__(self, config: RobustL2Config, supernet: Supernet, budget: Budget) -> None:
        weights = replace(budget.weights, weight_decay=config.decay_factor * budget.weights.weight_decay)
        super().__init__(config, supernet, replace(budget, weights=weights))


@settings
class RobustDPConfig(DifferentiableConfig):
    """Settings of R-DARTS by drop-path."""

    drop_path: Share = 0.0
    """probability in the last epoch that an edge's output for an image is dropped; published: 0.2, 0.4 and 0.6"""
    cutout_probability: Fraction = 1.0
    """probability in the last epoch that a square is cut out of an image, if the search has cutout"""


class RobustDP(Differentiable):
    """Learns alphas as DARTS does, with drop-path and cutout that rise from 0 linearly over the epochs."""

    Config = RobustDPConfig
    fixed_epochs = "its drop-path has risen to that of the last epoch"
    is_random = True
    config: RobustDPConfig

    def __init__(self, config: RobustDPConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self._regularise(0.0)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate, and the probabilities of drop-path and cutout."""
        super().begin_epoch(epoch)
        self._regularise(epoch / max(1, self.budget.epochs - 1))

    def _regularise(self, share: float) -> None:
        """Set the probabilities of drop-path and cutout to that share of their largest."""
        self.share, self.cutout_probability = share, share * self.config.cutout_probability
        probability = share * self.config.drop_path
        for cell in self.supernet.mixed_cells:
            chain = cell.cell.is_chain  # without one of its edges nothing would lead through the cell
            cell.drop_path, cell.drop_edges = (probability, 0.0) if chain else (0.0, probability)

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas and the probability of drop-path."""
        return {**super().end_epoch(epoch, valid_accuracy), "drop_path": self.share * self.config.drop_path}

    def state_dict(self) -> dict[str, Any]:
        """Add how far the probabilities have risen."""
        return super().state_dict() | {"share": self.share}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self._regularise(state["share"])
