"""DARTS-: an auxiliary skip connection on every edge, which fades away.

Chu et al., "DARTS-: Robustly Stepping out of Performance Collapse Without Indicators", ICLR 2021, arXiv 2009.01027.

    edge(x) = beta(e) skip(x) + sum_k p_k o_k(x),    p = softmax(alpha),    beta(e) = 1 - e/E   in epoch e of E

Otherwise it is first-order DARTS (see `differentiable.py`). The auxiliary skip takes the part of a skip connection
that helps to train a deep network, so that the candidate skip wins only by what it is worth as an operation. It has no
alpha, shares no weights with a candidate, exists on edges whose candidates have no skip connection, too, and is no part
of the architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.models.mix import Mix
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.settings import settings
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.modules import Norm


@settings
class DARTSMinusConfig(DifferentiableConfig):
    """Settings of DARTS-."""

    decay: Literal["linear", "cosine"] = "linear"
    """how the weight of the auxiliary skip falls from 1 to 0"""


class AuxiliaryAlphas(LearnedAlphas):
    """Alphas of the operations, and `beta`, the weight of the auxiliary skip connections, a scalar."""

    def __init__(self, space: SearchSpace, budget: Budget, like: Tensor, config: DARTSMinusConfig) -> None:
        self.beta = like.new_ones(())
        super().__init__(space, config.activation, config.sigmoid_init, budget, like, config.alpha)

    @property
    def fixed(self) -> list[str]:
        """The auxiliary skip connections, which stay where alpha alone moves."""
        return [*super().fixed, "auxiliary skip"]

    def mix(self, values: Mapping[str, Tensor] | None = None) -> Mix:
        """Return the op weights of the alphas, or of other `values`, with gradient, and that of the auxiliary skip."""
        return {kind: replace(edges, auxiliary=self.beta) for kind, edges in super().mix(values).items()}


class DARTSMinus(Differentiable):
    """Learns alphas by gradient, on a supernet with auxiliary skip connections."""

    Config = DARTSMinusConfig
    capturable = True
    fixed_epochs = "its auxiliary skip has faded to that of the last epoch"
    config: DARTSMinusConfig
    alphas: AuxiliaryAlphas

    @classmethod
    def new_supernet(
        cls, config: DARTSMinusConfig, space: SearchSpace, network_size: NetworkSize, norm: Norm
    ) -> Supernet:
        """Return a supernet with an auxiliary skip connection on every edge."""
        return Supernet(space, network_size, norm, CellOptions(auxiliary_skip=True))

    def begin(self) -> AuxiliaryAlphas:
        """Return the initial alphas, and the weight of the auxiliary skip."""
        return AuxiliaryAlphas(self.supernet.space, self.budget, self.weights[0], self.config)

    def begin_epoch(self, epoch: int) -> None:
        """Set the weight of the auxiliary skip."""
        super().begin_epoch(epoch)
        done = epoch / self.budget.epochs
        self.alphas.beta.fill_(1 - done if self.config.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done)))

    def state_dict(self) -> dict[str, Any]:
        """Add the weight of the auxiliary skip."""
        return super().state_dict() | {"beta": self.alphas.beta}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.alphas.beta.copy_(state["beta"])
