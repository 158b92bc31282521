"""Term: the data that both kinds of kernels take, with the gradients that they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from supernet.errors import UserError

Rows = tuple[Tensor, ...]
"""One number per channel, (C,), for each part of a term."""


@dataclass(frozen=True)
class Normalisation:
    """Batch normalisation of every part of a term: scale * (value - mean) / sqrt(variance + eps) + shift.

    - `batch_statistics`: mean and variance are those of the batch and have a gradient, and `running` is updated with
      `momentum`; otherwise they are taken from `running`.
    - `running`: running mean and running variance of each part, or None.
    - `batches`: the number of batches in the running statistics of each part, which rises by 1 as they are updated.
    - `scales`, `shifts`: the learned rows of each part, or None.
    """

    batch_statistics: bool
    eps: float
    momentum: float
    running: tuple[Rows, Rows] | None = None
    scales: Rows | None = None
    shifts: Rows | None = None
    batches: Rows | None = None

    @property
    def learned(self) -> Rows:
        """The learned rows: all scales, then all shifts."""
        return (self.scales or ()) + (self.shifts or ())


@dataclass(frozen=True)
class Term:
    """A tensor whose parts are weighted and added to sums.

    - `value`: (B, count * C, H, W), which holds `count` tensors of C channels side by side.
    - `targets`: for each part, the index of the sum it is added to.
    - `slots`: for each part, the index of its tensor in `value`. Parts may share a tensor; if gradients are needed,
      every tensor must belong to a part.
    """

    value: Tensor
    count: int
    targets: tuple[int, ...]
    slots: tuple[int, ...]
    normalisation: Normalisation | None = None

    @property
    def aligned(self) -> bool:
        """Whether each part has a tensor of its own, in the order of the parts."""
        return self.slots == tuple(range(self.count))

    def parts(self, value: Tensor) -> Rows:
        """Return the parts of `value`, (B, C, H, W) each, in the order of `targets`."""
        tensors = value.chunk(self.count, 1)
        return tuple(tensors[slot] for slot in self.slots)


@dataclass
class Gradients:
    """The gradients of all terms: of the parts' weights (parts,), of each value, and of all learned rows in order."""

    weights: Tensor
    values: list[Tensor | None] = field(default_factory=list)
    learned: list[Tensor] = field(default_factory=list)


def refuse_second_derivatives() -> None:
    """Raise UserError in a backward pass that is itself to be differentiated; its result would count as a constant.

    PyTorch's `once_differentiable` raises only if the second derivative's path leads through the function, and silently
    returns a wrong result otherwise.
    """
    if torch.is_grad_enabled():
        raise UserError(
            "the fused engine has no second derivatives: set supernet.engine = 'reference' for create_graph"
        )


def split_weights(terms: Sequence[Term], weights: Tensor) -> Rows:
    """Return for each term the weights of its parts, from `weights` (parts,) of all terms."""
    return torch.split(weights, [len(term.targets) for term in terms])
