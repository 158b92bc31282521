"""What is weighted and summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from supernet.errors import UserError

Rows = tuple[Tensor, ...]
"""A number per channel, (C,), for each part of a term."""


@dataclass(frozen=True)
class Normal:
    """Batch normalisation of each part: scale * (value - mean) / sqrt(variance + eps) + shift.

    - `own`: mean and variance are the batch's, with a gradient, and what is in `running` follows them by `momentum`;
      otherwise they are those in `running`.
    - `running`: mean and variance of each part, or None.
    - `scales`, `shifts`: learned, for each part, or None.
    """

    own: bool
    eps: float
    momentum: float
    running: tuple[Rows, Rows] | None = None
    scales: Rows | None = None
    shifts: Rows | None = None

    @property
    def learned(self) -> Rows:
        """All that is learned: the scales, then the shifts."""
        return (self.scales or ()) + (self.shifts or ())


@dataclass(frozen=True)
class Term:
    """A value and the sums that its parts go into.

    - `value`: (B, count * C, H, W): so many tensors of C channels side by side.
    - `targets`: per part the number of its sum.
    - `slots`: per part which of those tensors it is. Several parts may be the same one; where gradients are wanted,
      each is some part.
    """

    value: Tensor
    count: int
    targets: tuple[int, ...]
    slots: tuple[int, ...]
    normal: Normal | None = None

    def parts(self, value: Tensor) -> Rows:
        """Return for each target the part of `value` that goes into it, (B, C, H, W)."""
        slots = value.chunk(self.count, 1)
        return tuple(slots[slot] for slot in self.slots)


@dataclass
class Back:
    """The gradients of terms: of their weights (parts,), of each term's value, and of what they have learned."""

    weights: Tensor
    values: list[Tensor | None] = field(default_factory=list)
    learned: list[Tensor] = field(default_factory=list)


def refuse_a_second_time() -> None:
    """Raise UserError in a backward pass that is itself to be differentiated: it would be taken for a constant.

    PyTorch's `once_differentiable` raises only if that derivative's path leads through here, and says nothing if not.
    """
    if torch.is_grad_enabled():
        raise UserError(
            "the fused engine has no second derivatives: set supernet.engine = 'reference' for create_graph"
        )


def split(terms: Sequence[Term], weights: Tensor) -> Rows:
    """Return the weights of each term's parts."""
    return torch.split(weights, [len(term.targets) for term in terms])
