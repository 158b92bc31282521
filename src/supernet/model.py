"""Supernet: all weights of a space in one module, and none of its architecture parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn
from torch.func import functional_call

from supernet.genotype import Genotype
from supernet.mixing import Mix, MixedCell, sparse
from supernet.modules import Norm
from supernet.skeleton import build_layer
from supernet.spaces.base import SearchSpace
from supernet.spaces.frame import CellAt, Frame, last


class Supernet(nn.Module):
    """The weight-sharing network of a space: `supernet(x, mix) -> logits`.

    `norm` is how batch norm is done inside the candidate operations and the projections of the cells' inputs. The stem,
    the residual blocks and the head always learn scale and shift.
    """

    def __init__(self, space: SearchSpace, frame: Frame, norm: Norm) -> None:
        super().__init__()
        self.space, self.frame, self.norm = space, frame, norm
        inside = replace(norm, pools=space.norm_pools)
        layout = space.layout(frame)
        self.kinds = [placed.layer.kind if isinstance(placed.layer, CellAt) else None for placed in layout]
        self.layers = nn.ModuleList(
            MixedCell(space, placed, inside) if isinstance(placed.layer, CellAt) else build_layer(placed)
            for placed in layout
        )

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes), with the architecture that `mix` says."""
        outputs = [x]
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            if kind is None:
                outputs.append(layer(outputs[-1]))
            else:
                inputs = self.space.cells[kind].inputs
                outputs.append(layer(last(outputs[1:], inputs), mix[kind]))
        return outputs[-1]

    def redraw(self) -> None:
        """Draw all weights anew from the current random state, in place, as if the supernet had just been made."""
        self.load_state_dict(Supernet(self.space, self.frame, self.norm).state_dict())

    def only(self, genotype: Genotype) -> Mix:
        """Return the mix that runs one architecture of the space and nothing else."""
        width = {kind: cell.columns for kind, cell in self.space.cells.items()}
        return sparse(self.space.columns(genotype), width, next(self.parameters()).device)


def traceless(supernet: nn.Module, x: Tensor, mix: Mix, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Run the supernet with other `weights`, or its own, and leave no trace in its running statistics."""
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    logits: Tensor = functional_call(supernet, buffers | dict(weights or {}), (x, mix))
    return logits
