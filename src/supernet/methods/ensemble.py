"""Ensemble: the heads by which CDARTS compares two networks, on the features of their stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.shapes import stage_ends


class Ensemble(nn.Module):
    """Logits from a network's features and its own logits, weighted by shares that are learned and sum to 1.

    There is a head behind the last cell of each resolution but the last: ReLU, global average pooling and a linear
    layer.
    """

    def __init__(self, space: SearchSpace, network_size: NetworkSize) -> None:
        super().__init__()
        layout = space.layout(network_size)
        self.ends = stage_ends(layout)
        self.heads = nn.ModuleList(nn.Linear(layout[end].output.channels, network_size.classes) for end in self.ends)
        self.shares = nn.Parameter(torch.zeros(len(self.ends) + 1))

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        """Map the outputs of all layers, the network's logits (B, classes) the last, to logits (B, classes)."""
        logits = outputs[-1]
        means = [outputs[end].to(logits.dtype).relu().mean((2, 3)) for end in self.ends]
        each = [*(head(mean) for head, mean in zip(self.heads, means, strict=True)), logits]
        return torch.einsum("n,nbc->bc", self.shares.softmax(0), torch.stack(each))
