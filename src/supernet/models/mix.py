"""Mix: the op weights with which a supernet runs its candidate operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class EdgeMix:
    """The op weights of all edges of one kind of cell.

    - `weights`: (edges, columns), with or without gradient.
    - `active`: for each edge, the columns that run; other columns cost nothing. None runs every candidate.
    - `ones`: asserts that all active weights are 1 and need no gradient, so the multiplication is skipped.
    - `shift`: (edges,), zeros added to each edge's output to receive the gradient of that output (GDAS).
    - `edges`: (edges,), a weight for each edge as a whole, which multiplies those of its candidates and of what passes
      them by (PC-DARTS); None is 1.
    - `auxiliary`: the weight of the skip connections that are no candidates (DARTS-), a scalar; None runs none.
    """

    weights: Tensor
    active: tuple[tuple[int, ...], ...] | None = None
    ones: bool = False
    shift: Tensor | None = None
    edges: Tensor | None = None
    auxiliary: Tensor | None = None

    def to(self, device: torch.device, *, copy: bool = False) -> EdgeMix:
        """Return the weights on a device; with `copy`, they are copied in any case."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, copy=copy)

        weights = self.weights.to(device, copy=copy)
        more = {"shift": moved(self.shift), "edges": moved(self.edges), "auxiliary": moved(self.auxiliary)}
        return EdgeMix(weights, self.active, self.ones, **more)

    @property
    def products(self) -> Tensor:
        """The weights of the candidates, (edges, columns), each multiplied by that of its edge."""
        return self.weights if self.edges is None else self.weights * self.edges[:, None]


Mix = Mapping[str, EdgeMix]
"""The op weights of every kind of cell: all that a supernet's forward pass needs to know of the architecture."""


def dense(weights: Mapping[str, Tensor]) -> Mix:
    """Return the mix that runs every candidate with the given weights, (edges, columns) for each kind of cell."""
    return {kind: EdgeMix(value) for kind, value in weights.items()}


def detached(mix: Mix) -> Mix:
    """Return the same mix without gradient."""
    return {
        kind: replace(
            edges,
            weights=edges.weights.detach(),
            shift=None,
            edges=None if edges.edges is None else edges.edges.detach(),
            auxiliary=None if edges.auxiliary is None else edges.auxiliary.detach(),
        )
        for kind, edges in mix.items()
    }


def sources(mix: Mix) -> list[Tensor]:
    """Return the tensors that a mix is computed from and that have a gradient, such as alphas, in a fixed order."""
    parts = [t for edges in mix.values() for t in (edges.weights, edges.shift, edges.edges, edges.auxiliary)]
    found, seen = list[Tensor](), set[object]()
    left: list[Any] = [part.grad_fn or part for part in parts if part is not None and part.requires_grad]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += [before for before, _ in getattr(node, "next_functions", ()) if before is not None]
            found += [node] if isinstance(node, Tensor) else [node.variable] if hasattr(node, "variable") else []
    return list({id(tensor): tensor for tensor in found}.values())


def sparse(
    columns: Mapping[str, Sequence[int | None]], width: Mapping[str, int], device: torch.device | None = None
) -> Mix:
    """Return the mix that runs one candidate per edge with weight 1, and no candidate where the column is None.

    `columns` holds one column per edge and `width` the number of columns, both for each kind of cell.
    """
    mix = {}
    for kind, chosen in columns.items():
        numbers = torch.tensor([width[kind] if column is None else column for column in chosen], device=device)
        one_hot = nn.functional.one_hot(numbers, width[kind] + 1)[:, :-1].float()
        mix[kind] = EdgeMix(one_hot, tuple(() if column is None else (column,) for column in chosen), ones=True)
    return mix
