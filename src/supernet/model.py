"""Supernet: all weights of a space in one module, and none of its architecture parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call

from supernet.errors import UserError
from supernet.genotype import Genotype
from supernet.mixing import Mix, MixedCell, sparse
from supernet.modules import Norm
from supernet.skeleton import build_layer
from supernet.spaces.base import CellAt, ReduceAt, SearchSpace


class Supernet(nn.Module):
    """The weight-sharing network of a space: `supernet(x, mix) -> logits`.

    - `width`: channels of the first stage; `depth`: cells per stage.
    - `channels`, `classes`: the image's channels and the number of classes.
    - `norm`: how batch norm is done inside the candidate operations. The stem, the reductions and the head always
      learn scale and shift.
    """

    def __init__(self, space: SearchSpace, *, width: int, depth: int, channels: int, classes: int, norm: Norm) -> None:
        super().__init__()
        self.space = space
        self._made = {"width": width, "depth": depth, "channels": channels, "classes": classes, "norm": norm}
        plan = space.skeleton.plan(width, depth)
        self.kinds = [layer.kind if isinstance(layer, CellAt) else None for layer in plan]
        self.layers = nn.ModuleList(
            MixedCell(space, space.cells[layer.kind], layer.channels, norm)
            if isinstance(layer, CellAt)
            else build_layer(layer, channels, classes)
            for layer in plan
        )

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes), with the architecture that `mix` says."""
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            x = layer(x) if kind is None else layer(x, mix[kind])
        return x

    def redraw(self) -> None:
        """Draw all weights anew from the current random state, in place, as if the supernet had just been made."""
        self.load_state_dict(Supernet(self.space, **self._made).state_dict())  # type: ignore[arg-type]

    def only(self, genotype: Genotype) -> Mix:
        """Return the mix that runs one architecture of the space and nothing else."""
        width = {kind: cell.columns for kind, cell in self.space.cells.items()}
        return sparse(self.space.columns(genotype), width, next(self.parameters()).device)


def traceless(supernet: nn.Module, x: Tensor, mix: Mix, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Run the supernet with other `weights`, or its own, and leave no trace in its running statistics."""
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    logits: Tensor = functional_call(supernet, buffers | dict(weights or {}), (x, mix))
    return logits


def check_image(space: SearchSpace, size: tuple[int, int]) -> None:
    """Raise UserError if images of `size` (height, width) cannot pass the skeleton's reductions."""
    halvings = sum(isinstance(layer, ReduceAt) for layer in space.skeleton.plan(1, 1))
    least = 1 << halvings
    if min(size) < least:
        raise UserError(
            f"images of {size[0]}x{size[1]} pixels are too small for the {halvings} reductions of space "
            f"'{space.name}': they need at least {least}x{least}"
        )
