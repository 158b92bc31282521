"""The gradient diagnostics of Single-DARTS (Hou, Jin & Chen, 2021, arXiv 2108.08128, figures 2 and 3).

Correlation (figure 2, eq. 8): how much a step of the weights on their batch lowers the loss on alpha's batch,

    <dL(B_alpha)/dw, dL(B_w)/dw>     over the weights of the candidate operations, at the same (w, alpha)

In bi-level search the two batches are independent and the correlation is near zero; in single-level search they are
one batch and the correlation is the squared norm of the gradient. Its cosine is then always 1, so a lagged form is
measured, too: the cosine between the gradient on alpha's batch and the gradient of the weights' previous step. After a
step that trained another network than the supernet, as some of CDARTS and NAO-V2 do, nothing is measured.

Operator gradients (figure 3): dL/dp_k of the operations of the *last* cell alone, averaged over its edges. A search
prefers operations with smaller values; `none` has exactly 0. The available text of the paper has lost its symbols:
these definitions are the ones that its derivation allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from supernet.data import Batch
from supernet.engine.processes import averaged
from supernet.engine.seeds import random_state_kept
from supernet.methods.base import Method
from supernet.methods.monitor import Monitor
from supernet.models.mix import EdgeMix
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import traceless


class GradientMonitor(Monitor):
    """Measures every `every` steps on the batches of the next step; one that this step leaves out is measured again."""

    interval = 10

    def __init__(self, method: Method, every: int | None = None) -> None:
        super().__init__(method, every)
        self._watch()
        self.steps = self.count = 0
        self.sums: dict[str, Tensor] = {}
        self.previous: list[Tensor] | None = None  # the gradient of the weights' last step, kept for the lag
        self._stale: list[tuple[Tensor, Tensor] | None] = []  # each gradient before the step, and a copy of it

    def _watch(self) -> None:
        self.supernet = self.method.supernet
        self.cells = self.supernet.mixed_cells
        self.weights = [weight for cell in self.cells for weight in cell.ops.parameters() if weight.requires_grad]

    @property
    def period(self) -> int:
        """The interval."""
        return self.every

    def before(self, batches: Mapping[str, Batch]) -> None:
        """Measure before the step on `batches` if a measurement is due, and the step before was in the same stage."""
        if self.supernet is not self.method.supernet:
            self._watch()
            self.previous = None
        if self.previous is not None:
            with random_state_kept(self.method.device):  # noise, dropout and drop-path draw what the step will draw
                found = self._measure(batches, self.previous)
            for name, value in found.items():
                self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.count += 1
            self.previous = None
        if (self.steps + 1) % self.every == 0:
            self._stale = [None if w.grad is None else (w.grad, w.grad.clone()) for w in self.weights]

    def after(self) -> None:
        """Keep the gradient of the last step if the next one is measured, and if the step trained the supernet."""
        self.steps += 1
        if self.steps % self.every == 0:
            pairs = zip(self.weights, self._stale, strict=True)
            if any(_is_new(w.grad, stale) for w, stale in pairs):
                self.previous = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in self.weights]
            self._stale = []

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Return the averages since the end of the epoch before."""
        means = {name: value.item() / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def _measure(self, batches: Mapping[str, Batch], previous: list[Tensor]) -> dict[str, Tensor]:
        weight_batch, alpha_batch = batches[next(iter(self.method.streams))], batches.get("alpha")
        on_alpha, operators = self._gradients(weight_batch if alpha_batch is None else alpha_batch)
        on_weights = on_alpha if alpha_batch is None else self._gradients(weight_batch)[0]
        return {
            "correlation": _dot(on_alpha, on_weights),
            "correlation_lag1": _dot(on_alpha, previous) / (_norm(on_alpha) * _norm(previous)).clamp(min=1e-30),
            **operators,
        }

    def _gradients(self, batch: Batch) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the gradients of the cells' weights, and the gradients of the last cell's op weights by operation."""
        last, op_weights = self.cells[-1], []

        def separate(module: nn.Module, inputs: tuple[Sequence[Tensor], EdgeMix]) -> tuple[Sequence[Tensor], EdgeMix]:
            op_weights.append(inputs[1].weights.detach().clone().requires_grad_())
            return inputs[0], replace(inputs[1], weights=op_weights[0], ones=False)

        handle = last.register_forward_pre_hook(separate)  # cells of one kind share op weights; the last gets a copy
        try:
            loss = self.method.loss(traceless(self.method.supernet, batch.x, self.method.mix()), batch.y)
        finally:
            handle.remove()
        of = [*self.weights, op_weights[0]]
        *weights, operators = averaged(torch.autograd.grad(loss, of, materialize_grads=True))
        return weights, _by_operation(last, operators)

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a run resumes exactly."""
        return {"steps": self.steps, "count": self.count, "sums": self.sums, "previous": self.previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        self._watch()
        self.steps, self.count = state["steps"], state["count"]
        self.sums, self.previous = dict(state["sums"]), state["previous"]
        if self.previous is not None:
            self.previous = [part.to(w.device) for part, w in zip(self.previous, self.weights, strict=True)]


def _by_operation(cell: MixedCell, gradient: Tensor) -> dict[str, Tensor]:
    """Return the mean gradient of every operation over the edges of a cell."""
    gradients: dict[str, list[Tensor]] = {}
    for edge, row in zip(cell.cell.edges, gradient, strict=True):
        for op, value in zip(edge.ops, row, strict=False):
            gradients.setdefault(f"gradient of {op}", []).append(value)
    return {name: torch.stack(values).mean() for name, values in gradients.items()}


def _is_new(gradient: Tensor | None, stale: tuple[Tensor, Tensor] | None) -> bool:
    """Return whether a step has computed this gradient: as another tensor, or as other values where it is replayed."""
    if gradient is None or stale is None:
        return gradient is not None
    before, values = stale
    return gradient is not before or not torch.equal(gradient, values)


def _dot(left: list[Tensor], right: list[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


def _norm(parts: list[Tensor]) -> Tensor:
    return torch.sqrt(_dot(parts, parts))
