"""Supernet: the shared weights of all architectures of a space in one module, without architecture parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from supernet.models.side_paths import PLAIN, CellOptions
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, last
from supernet.spaces.size import NetworkSize


class Supernet(nn.Module):
    """The weight-sharing network of a space: `supernet(x, mix) -> logits`.

    `norm` is the kind of batch norm in the candidate operations and in the projections of the cells' inputs. The batch
    norms of stem, residual blocks and head always learn scale and shift. `options` add side paths and dropout.

    These attributes can be changed at any time, and change no weight:

    - `engine`: "fused", or "reference", which runs one operation after the other.
    - `precision`: see `supernet.engine.precision`.
    - `checkpointing`: in training, a cell stores only its inputs and runs again in the backward pass.
    - `fixed_edges`: the edges whose operation is fixed, whatever the mix says; None fixes none.

    `passes` counts the calls that record a gradient: batches that go through forward and backward. Lookahead, which
    takes its steps on a copy, adds its own.
    """

    precision: Precision = "float32"
    checkpointing: bool = False
    fixed_edges: FixedEdges | None = None
    passes: int = 0

    def __init__(self, space: SearchSpace, network_size: NetworkSize, norm: Norm, options: CellOptions = PLAIN) -> None:
        super().__init__()
        self.space, self.network_size, self.norm, self.options = space, network_size, norm, options
        inside = replace(norm, pools=space.norm_pools)
        layout = space.layout(network_size)
        self.kinds = [placed.layer.kind if isinstance(placed.layer, CellAt) else None for placed in layout]
        self.layers = nn.ModuleList(
            MixedCell(space, placed, inside, options) if isinstance(placed.layer, CellAt) else build_layer(placed)
            for placed in layout
        )

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes), with the op weights of `mix`."""
        return self.outputs(x, mix)[-1]

    def outputs(self, x: Tensor, mix: Mix) -> list[Tensor]:
        """Return the outputs (B, C, H, W) of all layers, the features, and the logits (B, classes) as the last."""
        self.passes += torch.is_grad_enabled()
        mix, outputs = self._fixed(mix), list[Tensor]()
        with autocast(x.device, self.precision):
            for kind, layer in zip(self.kinds, self.layers, strict=True):
                if kind is None:
                    outputs.append(layer(outputs[-1] if outputs else x))
                else:
                    outputs.append(self._cell(layer, last(outputs, self.space.cells[kind].inputs), mix[kind]))
        if self.precision == "bf16":
            outputs[-1] = outputs[-1].float()
        return outputs

    def _cell(self, layer: nn.Module, inputs: Sequence[Tensor], mix: EdgeMix) -> Tensor:
        run: Callable[..., Tensor] = layer
        if self.checkpointing and torch.is_grad_enabled():
            run = partial(
                checkpoint, layer, use_reentrant=False, context_fn=lambda: (nullcontext(), BuffersRestored(layer))
            )
        return run(inputs, mix)

    def _fixed(self, mix: Mix) -> Mix:
        return mix if self.fixed_edges is None else self.fixed_edges.apply(mix)

    @property
    def engine(self) -> Engine:
        """How the cells run: "fused" or "reference"."""
        return self.mixed_cells[0].engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        for cell in self.mixed_cells:
            cell.engine = engine

    @property
    def mixed_cells(self) -> list[MixedCell]:
        """The cells, from the stem to the head."""
        return [layer for layer in self.layers if isinstance(layer, MixedCell)]

    @property
    def dropout(self) -> float:
        """The rate at which the operations in `options.dropout` drop single values of their outputs, 0 at first.

        It applies in training; what is left is scaled up by 1/(1 - rate).
        """
        return next((module.p for cell in self.mixed_cells for module in cell.dropouts), 0.0)

    @dropout.setter
    def dropout(self, rate: float) -> None:
        for cell in self.mixed_cells:
            for module in cell.dropouts:
                module.p = rate

    @torch.no_grad()
    def batched(self, x: Tensor, mixes: Sequence[Mix]) -> Tensor:
        """Map images (B, C, H, W) to the logits (K, B, classes) of K mixes, faster than one after the other.

        Tensors that are equal for several mixes are computed once (see `BatchedEvaluation`). No gradient is recorded,
        and running statistics stay as they are. A random operation draws once for all mixes that share its input.
        """
        mixes = [self._fixed(mix) for mix in mixes]
        if self.options.side_paths:  # they are not shared
            with BuffersRestored(self):
                return torch.stack([self(x, mix) for mix in mixes])
        tensors = BatchedEvaluation(x, len(mixes), max(cell.inputs for cell in self.space.cells.values()))
        with autocast(x.device, self.precision), BuffersRestored(self):
            for kind, layer in zip(self.kinds, self.layers, strict=True):
                if isinstance(layer, MixedCell):
                    tensors.cell(layer, [mix[str(kind)] for mix in mixes])
                else:
                    tensors.fixed(layer)
        return tensors.last().float() if self.precision == "bf16" else tensors.last()

    def redraw(self) -> None:
        """Draw all weights anew from the current random state, in place, as a new supernet would."""
        self.load_state_dict(self.another().state_dict())

    def another(self) -> Supernet:
        """Return a new supernet of the same kind, with weights drawn from the current random state."""
        return type(self)(self.space, self.network_size, self.norm, self.options)

    def only(self, genotype: Genotype) -> Mix:
        """Return the mix that runs one architecture of the space."""
        width = {kind: cell.columns for kind, cell in self.space.cells.items()}
        return sparse(self.space.columns(genotype), width, next(self.parameters()).device)


class BuffersRestored:
    """Replaces all buffers of a layer by copies, and puts the originals back: running statistics stay as they are.

    It can be entered again, as checkpointing does in each backward pass through one graph.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._originals: list[tuple[nn.Module, dict[str, Tensor | None]]] = []

    def __enter__(self) -> None:
        self._originals = [(module, dict(module._buffers)) for module in self._layer.modules() if module._buffers]
        for module, buffers in self._originals:
            copies = {name: None if buffer is None else buffer.clone() for name, buffer in buffers.items()}
            module._buffers.update(copies)

    def __exit__(self, *_: object) -> None:
        for module, buffers in self._originals:
            module._buffers.update(buffers)
        self._originals = []


def traceless(supernet: Supernet, x: Tensor, mix: Mix, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Return the supernet's logits with `weights` in place of its own, and leave the running statistics unchanged.

    Without checkpointing: a cell that runs again in the backward pass would use the supernet's own weights.
    """
    checkpointing, supernet.checkpointing = supernet.checkpointing, False
    try:
        with BuffersRestored(supernet):
            logits: Tensor = functional_call(supernet, dict(weights or {}), (x, mix))
    finally:
        supernet.checkpointing = checkpointing
    return logits
