"""What R-DARTS watches: the largest eigenvalue of the validation loss's Hessian along alpha, and how decided alpha is.

Zela et al., ICLR 2020, arXiv 1909.09656. With p the op weights of an edge and s their shares p / sum(p):

    eigenvalue = largest of d^2 L_val / dalpha^2 (see `hessian.py`)
    entropy = - sum_k s_k log s_k          margin = largest p - second largest p (0 if there is no second)

Difference from released code: that draws a new batch of validation images for every measurement; here it is always the
first batch of `Budget.validation_batches`, which is random but the same in every epoch, so that two measurements differ
by what was learned in between, and not augmented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.methods.base import Method
from supernet.methods.hessian import alphas_of, eigenvalue, relaxed
from supernet.methods.monitor import Monitor


class HessianMonitor(Monitor):
    """Measures op weights after every epoch, and the eigenvalue in every `every`-th, from the first on.

    Raises UserError for a method without alphas.
    """

    interval = 2

    def __init__(self, method: Method, every: int | None = None) -> None:
        super().__init__(method, every)
        alphas_of(method)

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return entropy and margin of each edge by kind of cell, and the eigenvalue if it is due.

        `fixed` names the groups of architecture parameters, if any, along which the eigenvalue is not taken.
        """
        weights = {kind: edges.weights.detach() for kind, edges in relaxed(self.method)[1].items()}
        row: dict[str, Any] = {
            "entropy": {kind: _entropy(p).tolist() for kind, p in weights.items()},
            "margin": {kind: _margin(p).tolist() for kind, p in weights.items()},
        }
        if fixed := alphas_of(self.method).fixed:
            row["fixed"] = fixed
        return row | {"eigenvalue": eigenvalue(self.method)} if epoch % self.every == 0 else row


def _entropy(p: Tensor) -> Tensor:
    """Return the entropy of each edge in nats, shape (edges,); p is (edges, columns)."""
    shares = p / p.sum(-1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return -torch.xlogy(shares, shares).sum(-1)


def _margin(p: Tensor) -> Tensor:
    """Return the largest minus the second largest of each edge, shape (edges,)."""
    best, second = F.pad(p, (0, 1)).topk(2).values.unbind(-1)
    return best - second
