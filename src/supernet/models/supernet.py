"""Supernet: all weights of a space in one module, and none of its architecture parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from supernet.engine.precision import Precision, autocast
from supernet.models.batched import BatchedEvaluation
from supernet.models.fixed_edges import FixedEdges
from supernet.models.layers import build_layer
from supernet.models.mix import EdgeMix, Mix, sparse
from supernet.models.mixed_cell import Engine, MixedCell
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import CellAt, NetworkSize, last


class Supernet(nn.Module):
    """The weight-sharing network of a space: `supernet(x, mix) -> logits`.

    `norm` is how batch norm is done inside the candidate operations and the projections of the cells' inputs. The stem,
    the residual blocks and the head always learn scale and shift.

    How it is run can be changed at any time, and changes no weight:

    - `engine`: "fused", or "reference", which runs one operation after the other.
    - `precision`: see `supernet.engine.precision`.
    - `checkpointing`: while training, a cell keeps its inputs only, and is run again in the backward pass.

    `fixed_edges` says what some edges run whatever the mix says; None leaves everything to the mix.
    """

    precision: Precision = "float32"
    checkpointing: bool = False
    fixed_edges: FixedEdges | None = None

    def __init__(self, space: SearchSpace, network_size: NetworkSize, norm: Norm) -> None:
        super().__init__()
        self.space, self.network_size, self.norm = space, network_size, norm
        inside = replace(norm, pools=space.norm_pools)
        layout = space.layout(network_size)
        self.kinds = [placed.layer.kind if isinstance(placed.layer, CellAt) else None for placed in layout]
        self.layers = nn.ModuleList(
            MixedCell(space, placed, inside) if isinstance(placed.layer, CellAt) else build_layer(placed)
            for placed in layout
        )

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes), with the architecture that `mix` says."""
        mix, outputs = self._left(mix), [x]
        with autocast(x.device, self.precision):
            for kind, layer in zip(self.kinds, self.layers, strict=True):
                if kind is None:
                    outputs.append(layer(outputs[-1]))
                else:
                    outputs.append(self._cell(layer, last(outputs[1:], self.space.cells[kind].inputs), mix[kind]))
        return outputs[-1] if self.precision != "bf16" else outputs[-1].float()

    def _cell(self, layer: nn.Module, inputs: Sequence[Tensor], mix: EdgeMix) -> Tensor:
        run: Callable[..., Tensor] = layer
        if self.checkpointing and torch.is_grad_enabled():
            run = partial(checkpoint, layer, use_reentrant=False, context_fn=lambda: (nullcontext(), _unnoticed(layer)))
        return run(inputs, mix)

    def _left(self, mix: Mix) -> Mix:
        return mix if self.fixed_edges is None else self.fixed_edges.apply(mix)

    @property
    def engine(self) -> Engine:
        """How the cells are run."""
        return next(layer.engine for layer in self.layers if isinstance(layer, MixedCell))

    @engine.setter
    def engine(self, engine: Engine) -> None:
        for layer in self.layers:
            if isinstance(layer, MixedCell):
                layer.engine = engine

    @torch.no_grad()
    def batched(self, x: Tensor, mixes: Sequence[Mix]) -> Tensor:
        """Map images (B, C, H, W) to the logits (K, B, classes) of K mixes, faster than one after the other.

        What is equal among them is computed once (see `many.py`). Nothing is recorded for a gradient, and running
        statistics stay as they are. Operations that draw at random draw for each other.
        """
        mixes = [self._left(mix) for mix in mixes]
        tensors = BatchedEvaluation(x, len(mixes), max(cell.inputs for cell in self.space.cells.values()))
        with autocast(x.device, self.precision), _unnoticed(self):
            for kind, layer in zip(self.kinds, self.layers, strict=True):
                if isinstance(layer, MixedCell):
                    tensors.cell(layer, [mix[str(kind)] for mix in mixes])
                else:
                    tensors.fixed(layer)
        return tensors.last().float() if self.precision == "bf16" else tensors.last()

    def redraw(self) -> None:
        """Draw all weights anew from the current random state, in place, as if the supernet had just been made."""
        self.load_state_dict(Supernet(self.space, self.network_size, self.norm).state_dict())

    def only(self, genotype: Genotype) -> Mix:
        """Return the mix that runs one architecture of the space and nothing else."""
        width = {kind: cell.columns for kind, cell in self.space.cells.items()}
        return sparse(self.space.columns(genotype), width, next(self.parameters()).device)


@contextmanager
def _unnoticed(layer: nn.Module) -> Iterator[None]:
    """Let a layer run without a trace in its running statistics: it has copies for as long."""
    owners = [(module, dict(module._buffers)) for module in layer.modules() if module._buffers]
    for module, own in owners:
        module._buffers.update({name: None if buffer is None else buffer.clone() for name, buffer in own.items()})
    try:
        yield
    finally:
        for module, own in owners:
            module._buffers.update(own)


def traceless(supernet: Supernet, x: Tensor, mix: Mix, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Run the supernet with other `weights`, or its own, and leave no trace in its running statistics.

    Nothing is checkpointed: run again in the backward pass, a cell would find the supernet's own weights.
    """
    asked, supernet.checkpointing = supernet.checkpointing, False
    try:
        with _unnoticed(supernet):
            logits: Tensor = functional_call(supernet, dict(weights or {}), (x, mix))
    finally:
        supernet.checkpointing = asked
    return logits
