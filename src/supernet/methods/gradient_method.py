"""GradientMethod: the base class of methods that learn alphas by gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.processes import averaged
from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget, Method
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace


class GradientMethod(Method):
    """A method with alphas, whose optimizer is `config.alpha`; `begin` may replace softmax by another relaxation.

    A subclass lets alpha learn by `alpha_step`, or by `alphas.step`, which adds the gradient of targets.
    """

    aims = True
    patient = True

    def __init__(self, config: Any, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.alphas = self.begin()

    def enter(self, space: SearchSpace, network_size: NetworkSize) -> None:
        """Enter a stage, with new alphas as well (see `Method.enter`)."""
        super().enter(space, network_size)
        self.alphas = self.begin()

    def begin(self) -> LearnedAlphas:
        """Return the initial alphas."""
        return LearnedAlphas(self.supernet.space, "softmax", "zero", self.budget, self.weights[0], self.config.alpha)

    def gradient(self, batch: Batch, mix: Mix) -> tuple[Tensor, ...]:
        """Return the gradient of the loss on `batch` with respect to `alphas.parameters`, on which `mix` depends."""
        loss = self.loss(self.supernet(batch.x, mix), batch.y)
        # Zeros for a cell of none alone
        return averaged(torch.autograd.grad(loss, self.alphas.parameters, materialize_grads=True))

    def alpha_step(self, batch: Batch, mix: Mix) -> None:
        """Take a step of the alphas along their gradient; the weights do not change."""
        self.alphas.step(self.gradient(batch, mix))

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the architecture parameters, each group by itself."""
        return self.alphas.row()

    def state_dict(self) -> dict[str, Any]:
        """Add the alphas and their optimizer."""
        return super().state_dict() | self.alphas.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.alphas.load_state_dict(state)
