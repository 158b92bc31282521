"""The architecture parameters of a space, as methods hold them: one tensor (edges, columns) per kind of cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from supernet.methods.relaxation import Activation, SigmoidInit, candidate_mask, initial_alpha, relax
from supernet.models.mix import Mix, dense
from supernet.spaces.search_space import SearchSpace

if TYPE_CHECKING:
    from supernet.engine.optim import AlphaOptimizerConfig
    from supernet.methods.base import Budget


class Alphas(Mapping[str, Tensor]):
    """Per kind of cell its alphas (edges, columns), drawn from `seed`, and the op weights that they mean.

    They have the device and the type of `like`. Columns without a candidate are there, and mean nothing.
    """

    def __init__(
        self, space: SearchSpace, activation: Activation, sigmoid_init: SigmoidInit, seed: int, like: Tensor
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.activation = activation
        self.masks = {kind: candidate_mask(cell).to(like.device) for kind, cell in space.cells.items()}
        self._values = {
            kind: initial_alpha(mask.cpu(), activation, sigmoid_init, generator).to(like.device, like.dtype)
            for kind, mask in self.masks.items()
        }

    def __getitem__(self, kind: str) -> Tensor:
        return self._values[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def mix(self, values: Mapping[str, Tensor] | None = None) -> Mix:
        """Return the op weights of the alphas, or of other `values` in their place, with their gradient."""
        values = self._values if values is None else values
        return dense({kind: relax(alpha, self.masks[kind], self.activation) for kind, alpha in values.items()})

    @property
    def sizes(self) -> list[int]:
        """How many alphas with a candidate each kind of cell has."""
        return [int(mask.sum()) for mask in self.masks.values()]

    def flat(self, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the alphas with a candidate, or other `values` in their place, as one vector (D,) float64 on the CPU.

        Kinds of cell come one after the other.
        """
        values = self._values if values is None else values
        return torch.cat([values[kind].detach()[mask] for kind, mask in self.masks.items()]).double().cpu()

    def after(self, step: Tensor) -> dict[str, Tensor]:
        """Return the alphas after a step (D,); columns without a candidate stay as they are."""
        moved = {}
        for (kind, alpha), part in zip(self._values.items(), torch.split(step, self.sizes), strict=True):
            moved[kind] = alpha.detach() + torch.zeros_like(alpha).masked_scatter(self.masks[kind], part.to(alpha))
        return moved

    def lists(self) -> dict[str, list[list[float]]]:
        """Return the alphas as plain data."""
        return {kind: alpha.tolist() for kind, alpha in self._values.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas."""
        return {kind: alpha.detach() for kind, alpha in self._values.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the alphas that `state_dict` returned, in place."""
        for kind, alpha in self._values.items():
            alpha.copy_(state[kind])


class LearnedAlphas(Alphas):
    """Alphas with the optimizer that steps them; the other arguments are those of `Alphas`."""

    def __init__(
        self,
        space: SearchSpace,
        activation: Activation,
        sigmoid_init: SigmoidInit,
        budget: Budget,
        like: Tensor,
        how: AlphaOptimizerConfig,
    ) -> None:
        super().__init__(space, activation, sigmoid_init, budget.seed, like)
        for alpha in self.values():
            alpha.requires_grad_()
        self.optimizer = how.make(self.values(), budget.weights)

    def step(self, gradient: Sequence[Tensor]) -> None:
        """Take a step along a gradient, in the order of the kinds of cell."""
        for alpha, value in zip(self.values(), gradient, strict=True):
            alpha.grad = value
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas and the state of their optimizer."""
        return {"alphas": super().state_dict(), "alpha_optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state["alphas"])
        self.optimizer.load_state_dict(state["alpha_optimizer"])
