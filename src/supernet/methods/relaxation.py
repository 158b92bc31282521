"""Relaxation: the functions from alpha to op weights, and the alphas that a search starts from.

Single-DARTS (Hou, Jin & Chen, 2021, arXiv 2108.08128): the operations of an edge compete under softmax, and do not
under sigmoid. The chain rules, with g the gradient of the loss with respect to the op weights p of one edge:

    softmax: dL/dalpha_k = p_k (g_k - sum_m p_m g_m)        sigmoid: dL/dalpha_k = p_k (1 - p_k) g_k
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from supernet.spaces.cell import Cell

Activation = Literal["sigmoid", "softmax"]
SigmoidInit = Literal["inv_n", "zero"]


def candidate_mask(cell: Cell) -> Tensor:
    """Return booleans (edges, columns): True where the edge has a candidate operation in that column."""
    return torch.tensor([[k < len(edge.ops) for k in range(cell.columns)] for edge in cell.edges])


def relax(alpha: Tensor, mask: Tensor, activation: Activation) -> Tensor:
    """Return the op weights (edges, columns) of `alpha`: 0 without gradient where `mask` is False."""
    if activation == "softmax":
        return torch.softmax(alpha.masked_fill(~mask, -math.inf), dim=-1)
    return torch.sigmoid(alpha) * mask


def initial_alpha(mask: Tensor, activation: Activation, init: SigmoidInit, generator: torch.Generator) -> Tensor:
    """Return the initial alphas, in the shape of `mask`.

    Softmax: normal with standard deviation 1e-3, as in DARTS. Sigmoid: `inv_n` gives every operation of an edge with n
    candidates the weight 1/n, where softmax starts, too; `zero` gives it 1/2. The available text of the paper has lost
    its value; 1/n as the good start is a reconstruction.
    """
    if activation == "softmax":
        return 1e-3 * torch.randn(mask.shape, generator=generator)
    alpha = torch.zeros(mask.shape)
    if init == "inv_n":
        others = (mask.sum(-1, keepdim=True) - 1).clamp(min=1)  # an edge with one candidate starts at weight 1/2
        alpha -= torch.log(others.to(alpha.dtype))
    return alpha
