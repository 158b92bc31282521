"""PC-DARTS: partial channels, and a weight for every edge.

Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020, arXiv
1907.05737.

    mixed edge:  shuffle([ sum_k p_k o_k(x'), pass(x'') ])     x': the first 1/K of the channels of x, x'': the others
    node j = sum_i b_ij mixed_ij,    p = softmax(alpha_ij),    b_j = softmax(beta_ij over the edges into j)
    bi-level, first order (see `differentiable.py`), with alpha and beta frozen in the first epochs

The edges of an architecture are ranked by b_ij max_k p_k, the products of the two.

The paper freezes alpha in 15 of 50 epochs (CIFAR) or in 35 of 50 (ImageNet): `warmup` is the share. As in the released
code, the other channels of an edge that halves the image pass a 2x2 max-pooling, and the first betas are drawn as the
alphas are, with standard deviation 1e-3.

Differences from released code. Alpha's batches are those of `darts`: one endless stream of shuffled passes. On ImageNet
released code clips the gradient of alpha and beta at norm 5; here it is not clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from supernet.engine.seeds import seed_of
from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget
from supernet.methods.differentiable import DifferentiableConfig
from supernet.methods.equal_parts import share_of
from supernet.methods.warm_up import WarmUp
from supernet.models.mix import Mix
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.settings import Count, Share, settings
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.cell import Cell
from supernet.spaces.modules import Norm


@settings
class PCDARTSConfig(DifferentiableConfig):
    """Settings of PC-DARTS."""

    partial: Count = 4
    """the operations see one in so many channels"""
    warmup: Share = 0.3
    """share of the epochs in which the weights learn alone"""


class EdgeAlphas(LearnedAlphas):
    """Alphas of the operations, and a beta for every edge: `betas[kind]` (edges,)."""

    def __init__(self, space: SearchSpace, budget: Budget, like: Tensor, config: DifferentiableConfig) -> None:
        generator = torch.Generator().manual_seed(seed_of(budget.seed, "betas"))
        self._cells = space.cells
        self.betas = {
            kind: (1e-3 * torch.randn(len(cell.edges), generator=generator)).to(like.device, like.dtype)
            for kind, cell in space.cells.items()
        }
        super().__init__(space, config.activation, config.sigmoid_init, budget, like, config.alpha)

    @property
    def groups(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The alphas, and the betas."""
        return {**super().groups, "beta": self.betas}

    def mix(self, values: Mapping[str, Tensor] | None = None) -> Mix:
        """Return the op weights of the alphas, or of other `values`, and the weights of the edges, with gradient."""
        edges = {kind: edge_weights(beta, self._cells[kind]) for kind, beta in self.betas.items()}
        return {kind: replace(mixed, edges=edges[kind]) for kind, mixed in super().mix(values).items()}


def edge_weights(beta: Tensor, cell: Cell) -> Tensor:
    """Return the weights (edges,) of the edges of a cell: softmax of `beta` over the edges into each node."""
    counts = [sum(edge.target == node for edge in cell.edges) for node in range(cell.inputs, cell.nodes)]
    return torch.cat([part.softmax(dim=0) for part in torch.split(beta, counts)])


class PCDARTS(WarmUp):
    """Learns alphas and betas by gradient, on a supernet of partial channels."""

    Config = PCDARTSConfig
    capturable = True
    fixed_epochs = "alpha has waited for a share of the epochs that it was begun with"
    config: PCDARTSConfig
    alphas: EdgeAlphas

    @classmethod
    def new_supernet(cls, config: PCDARTSConfig, space: SearchSpace, network_size: NetworkSize, norm: Norm) -> Supernet:
        """Return a supernet whose operations see some of the channels.

        Raises UserError if the channels cannot be divided, and for a space whose cells change their channels.
        """
        return Supernet(space, network_size, norm, CellOptions(partial=config.partial))

    def begin(self) -> EdgeAlphas:
        """Return the initial alphas and betas."""
        return EdgeAlphas(self.supernet.space, self.budget, self.weights[0], self.config)

    def begin_epoch(self, epoch: int) -> None:
        """Let alpha and beta learn, or not yet."""
        super().begin_epoch(epoch)
        self.learns = epoch >= min(share_of(self.budget.epochs, self.config.warmup), self.budget.epochs - 1)

    def op_scores(self) -> dict[str, Tensor]:
        """Return the products of op weights and edge weights."""
        return {kind: edges.products.detach() for kind, edges in self.mix().items()}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the weights of the edges as well."""
        cells, betas = self.supernet.space.cells, self.alphas.betas
        weights = {kind: edge_weights(beta, cells[kind]).tolist() for kind, beta in betas.items()}
        return {**super().end_epoch(epoch, valid_accuracy), "edge_weights": weights}
