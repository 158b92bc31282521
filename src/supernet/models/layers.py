"""The layers that are not searched, in supernets and networks alike: stem, reductions, projections, heads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from supernet.spaces.cell import Cell
from supernet.spaces.modules import FactorizedReduce, Norm, ReLUConvBN, batch_norm, conv_bn, drop_path
from supernet.spaces.residual import Residual
from supernet.spaces.shapes import CellAt, ConvAt, HeadAt, PlacedLayer, ReduceAt, Shape, StemAt


class Reduction(nn.Module):
    """NAS-Bench-201's residual block: (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s)).

    Its batch norms learn scale and shift, also in a supernet. The pool of the shortcut keeps the last row and column of
    an odd side, as the convolutions do.
    """

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ReLUConvBN(cin, cout, 3, stride), ReLUConvBN(cout, cout, 3))
        halve = [nn.AvgPool2d(2, stride=2, ceil_mode=True)] if stride == 2 else []
        self.shortcut = nn.Sequential(*halve, nn.Conv2d(cin, cout, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


def build_layer(placed: PlacedLayer) -> nn.Module:
    """Build a layer that is not searched. Raises TypeError for a cell."""
    cin, layer = placed.inputs[-1].channels, placed.layer
    match layer:
        case StemAt():
            return _stem(cin, layer)
        case ReduceAt(channels, stride):
            return Reduction(cin, channels, stride)
        case HeadAt(norm):
            before = [batch_norm(cin), nn.ReLU()] if norm else []
            return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, placed.output.channels))
        case ConvAt(channels, kernel, stride, activation, pool):
            halve = [nn.MaxPool2d(3, stride=2, padding=1)] if pool else []
            return nn.Sequential(*conv_bn(cin, channels, kernel, stride, activation), *halve)
    raise TypeError(f"not a fixed layer: {layer}")


def _stem(cin: int, stem: StemAt) -> nn.Sequential:
    """Build the stem of NAS-Bench-201 and DARTS for small images or, with halvings, DARTS' stem for ImageNet.

    The ImageNet stem is two layers; all but the first begin with ReLU.
    """
    widths = [max(1, stem.channels // 2)] * (stem.halvings - 1) + [stem.channels]
    parts: list[nn.Module] = [] if stem.first else [nn.ReLU()]
    for number, width in enumerate(widths):
        parts += [nn.ReLU()] if number else []
        parts += [nn.Conv2d(cin, width, 3, 2 if stem.halvings else 1, padding=1, bias=False), batch_norm(width)]
        cin = width
    return nn.Sequential(*parts)


def projections(cell: Cell, placed: PlacedLayer, norm: Norm) -> nn.ModuleList:
    """Build the module that each input of a cell passes before any edge reads it, one per input.

    In a cell that projects (DARTS' preprocessing) the module is ReLU, 1x1 convolution and batch norm to the cell's
    channels, or a factorised reduction if the input has another resolution than the nearest input. In a cell that
    calibrates (NAO), an input with the cell's channels and the nearest input's resolution passes unchanged. In all
    other cells every input passes unchanged.
    """
    assert isinstance(placed.layer, CellAt)
    channels, nearest = placed.layer.channels, placed.inputs[-1]

    def projection(shape: Shape) -> nn.Module:
        if not cell.project:
            return nn.Identity()
        if (shape.height, shape.width) == (nearest.height, nearest.width):
            if cell.project == "calibrate" and shape.channels == channels:
                return nn.Identity()
            return ReLUConvBN(shape.channels, channels, 1, norm=norm)
        return FactorizedReduce(shape.channels, channels, norm)

    return nn.ModuleList(projection(shape) for shape in placed.inputs)


def shortened(cell: Cell, placed: PlacedLayer, norm: Norm, inputs: Collection[int]) -> nn.ModuleDict:
    """Build the modules that halve the inputs of a cell which are part of its output, by the number of the input.

    Where the output is made of the unused nodes (NAO), an input can be among them; in a layer of stride 2 it has twice
    the resolution of the other nodes, and passes a factorised reduction without ReLU. `inputs` are the numbers of the
    inputs that need one. All other cells need none: the result is empty.
    """
    assert isinstance(placed.layer, CellAt)
    channels = placed.layer.channels
    numbers = sorted(inputs) if cell.output == "unused" and placed.layer.stride == 2 else ()
    return nn.ModuleDict({str(n): FactorizedReduce(channels, channels, norm, relu=False) for n in numbers})


def edge_shape(cell: Cell, placed: PlacedLayer, source: int) -> tuple[int, int]:
    """Return the input channels and the stride of every operation on an edge that leaves node `source`."""
    assert isinstance(placed.layer, CellAt)
    if source >= cell.inputs:
        return placed.layer.channels, 1
    return placed.layer.channels if cell.project else placed.inputs[source].channels, placed.layer.stride


def auxiliary_layer(layout: Sequence[PlacedLayer]) -> int:
    """Return the number of the layer that the auxiliary head reads: 2L/3 of the L layers between stem and head."""
    body = [number for number, placed in enumerate(layout) if isinstance(placed.layer, CellAt | ReduceAt)]
    return body[2 * len(body) // 3]


class AuxiliaryHead(nn.Module):
    """DARTS' second classifier, which helps to train a deep network: (B, C, H, W) -> (B, classes).

    For 8x8 pixels (CIFAR) and 7x7 pixels (ImageNet) it is that of the paper's code, which has no second batch norm at
    7x7; images of other sizes are averaged to 2x2.
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        side = (shape.height, shape.width)
        pool = {(8, 8): nn.AvgPool2d(5, stride=3), (7, 7): nn.AvgPool2d(5, stride=2)}.get(side)
        second = [] if side == (7, 7) else [batch_norm(768)]
        self.features = nn.Sequential(
            *(nn.ReLU(), pool or nn.AdaptiveAvgPool2d(2)),
            *(nn.Conv2d(shape.channels, 128, 1, bias=False), batch_norm(128), nn.ReLU()),
            *(nn.Conv2d(128, 768, 2, bias=False), *second, nn.ReLU()),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.classifier(self.features(x).flatten(1))
        return out


def with_drop_path(operation: nn.Module, x: Tensor, part: Tensor, probability: float) -> Tensor:
    """Return `part`, the output of an operation for `x`, in which the operation is dropped for some images.

    The identity is never dropped, nor is the input that a residual block adds to its body; a block without residual
    stays whole, as nothing else leads through its stage.
    """
    if isinstance(operation, Residual):
        return operation.dropping(x, part, probability)
    return part if isinstance(operation, nn.Identity) else drop_path(part, probability)
