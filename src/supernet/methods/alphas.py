"""Alphas: the architecture parameters of a space, one tensor (edges, columns) for each kind of cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.engine.optim import AlphaOptimizerConfig
from supernet.methods.base import Budget
from supernet.methods.relaxation import Activation, SigmoidInit, candidate_mask, initial_alpha, relax
from supernet.models.mix import Mix, dense
from supernet.spaces.search_space import SearchSpace


class Alphas(Mapping[str, Tensor]):
    """The alphas (edges, columns) of each kind of cell, drawn from `seed`, and the op weights computed from them.

    The tensors have the device and dtype of `like`. Entries without a candidate have no effect; `masks` is True for the
    D entries of all cells that have one.
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
        """Return the op weights of the alphas, or of other `values`, with gradient."""
        values = self._values if values is None else values
        return dense({kind: relax(alpha, self.masks[kind], self.activation) for kind, alpha in values.items()})

    @property
    def groups(self) -> Mapping[str, Mapping[str, Tensor]]:
        """All architecture parameters that learn, by name and kind of cell: "alpha", and whatever a subclass adds.

        The row of an epoch has each group under its plural: "alphas".
        """
        return {"alpha": self._values}

    @property
    def parameters(self) -> list[Tensor]:
        """The tensors of all groups."""
        return [value for group in self.groups.values() for value in group.values()]

    @property
    def fixed(self) -> list[str]:
        """The names of the groups that stay as they are where alpha alone moves: in the landscape and the Hessian."""
        return [name for name in self.groups if name != "alpha"]

    @property
    def sizes(self) -> list[int]:
        """The number of alphas with a candidate in each kind of cell; their sum is D."""
        return [int(mask.sum()) for mask in self.masks.values()]

    def flat(self, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the D alphas, or other `values`, as one vector (D,) of float64 on the CPU, one kind after another."""
        values = self._values if values is None else values
        return torch.cat([values[kind].detach().cpu()[mask.cpu()] for kind, mask in self.masks.items()]).double()

    def after(self, step: Tensor) -> dict[str, Tensor]:
        """Return the alphas after adding the vector `step` (D,)."""
        moved = {}
        for (kind, alpha), part in zip(self._values.items(), torch.split(step, self.sizes), strict=True):
            moved[kind] = alpha.detach() + torch.zeros_like(alpha).masked_scatter(self.masks[kind], part.to(alpha))
        return moved

    def row(self) -> dict[str, Any]:
        """Return every group as nested lists, as an epoch's row has them: {"alphas": ...}."""
        return {
            f"{name}s": {kind: value.tolist() for kind, value in group.items()} for name, group in self.groups.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return every group: {"alphas": ...}."""
        return {
            f"{name}s": {kind: value.detach() for kind, value in group.items()} for name, group in self.groups.items()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the groups that `state_dict` returned into these tensors."""
        for name, group in self.groups.items():
            for kind, value in group.items():
                value.copy_(state[f"{name}s"][kind])


class LearnedAlphas(Alphas):
    """Alphas with an optimizer, which `config` describes; the other arguments are those of `Alphas`."""

    def __init__(
        self,
        space: SearchSpace,
        activation: Activation,
        sigmoid_init: SigmoidInit,
        budget: Budget,
        like: Tensor,
        config: AlphaOptimizerConfig,
    ) -> None:
        super().__init__(space, activation, sigmoid_init, budget.seed, like)
        for parameter in self.parameters:
            parameter.requires_grad_()
        self.optimizer = config.make(self.parameters, budget.weights)
        self.targets = budget.targets and budget.targets.within(space)

    def scored(self, mix: Mix) -> Mix:
        """Return the mix whose products are the op scores, by default `mix`, which the supernet runs with."""
        return mix

    def step(self, gradient: Sequence[Tensor] | None = None) -> None:
        """Take a step of the optimizer with the gradient of the loss, and of the targets if there are any.

        `gradient` has one tensor for each of `parameters`; None takes what a backward pass has left in them. It is the
        same in all processes, as is that of the targets, which depend on no image.
        """
        for parameter, value in zip(self.parameters, gradient or (), strict=gradient is not None):
            parameter.grad = value
        if self.targets is not None:
            mix = self.mix()
            penalty = self.targets(mix, self.scored(mix))
            more = torch.autograd.grad(penalty, self.parameters, materialize_grads=True)
            for parameter, value in zip(self.parameters, more, strict=True):
                parameter.grad = value if parameter.grad is None else parameter.grad + value
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return every group and the state of the optimizer."""
        return super().state_dict() | {"alpha_optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        found = state["alpha_optimizer"]
        pairs = zip(found["param_groups"], self.optimizer.param_groups, strict=True)
        here = [group | {name: own[name] for name in ("capturable",) if name in own} for group, own in pairs]
        self.optimizer.load_state_dict(found | {"param_groups": here})  # a GPU and a CPU count steps in their own way
