"""The layers that are not searched: stem, reductions, projections, heads; the same in supernets and plain networks."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from supernet.spaces.cell import Cell
from supernet.spaces.modules import FactorizedReduce, Norm, ReLUConvBN, batch_norm
from supernet.spaces.size import CellAt, HeadAt, PlacedLayer, ReduceAt, Shape, StemAt


class Reduction(nn.Module):
    """NAS-Bench-201's residual block; its batch norm is always learned, also in a supernet.

    (B, Ci, H, W) -> (B, Co, ceil(H/s), ceil(W/s)): of an odd side the pool keeps the last row, as the convolution does.
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
    """Build a layer that is not searched."""
    cin, layer = placed.inputs[-1].channels, placed.layer
    match layer:
        case StemAt():
            return _stem(cin, layer)
        case ReduceAt(channels, stride):
            return Reduction(cin, channels, stride)
        case HeadAt(norm):
            before = [batch_norm(cin), nn.ReLU()] if norm else []
            return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, placed.output.channels))
    raise TypeError(f"not a fixed layer: {layer}")


def _stem(cin: int, stem: StemAt) -> nn.Sequential:
    """NAS-Bench-201's and DARTS' stem for small images; with halvings, DARTS' for ImageNet, its two parts apart."""
    widths = [max(1, stem.channels // 2)] * (stem.halvings - 1) + [stem.channels]
    parts: list[nn.Module] = [] if stem.first else [nn.ReLU()]
    for number, width in enumerate(widths):
        parts += [nn.ReLU()] if number else []
        parts += [nn.Conv2d(cin, width, 3, 2 if stem.halvings else 1, padding=1, bias=False), batch_norm(width)]
        cin = width
    return nn.Sequential(*parts)


def projections(cell: Cell, placed: PlacedLayer, norm: Norm) -> nn.ModuleList:
    """Build what each input of a cell passes first: DARTS' preprocessing if the cell projects, otherwise nothing.

    To calibrate is to project only what has not the cell's channels and the nearest input's resolution.
    """
    assert isinstance(placed.layer, CellAt)
    channels, nearest = placed.layer.channels, placed.inputs[-1]

    def projection(place: Shape) -> nn.Module:
        if not cell.project:
            return nn.Identity()
        if (place.height, place.width) == (nearest.height, nearest.width):
            if cell.project == "calibrate" and place.channels == channels:
                return nn.Identity()
            return ReLUConvBN(place.channels, channels, 1, norm=norm)
        return FactorizedReduce(place.channels, channels, norm)

    return nn.ModuleList(projection(place) for place in placed.inputs)


def shortened(cell: Cell, placed: PlacedLayer, norm: Norm, inputs: Collection[int]) -> nn.ModuleDict:
    """Build by number what these inputs of a cell pass on their way to its output, if that can hold unused nodes.

    In a layer with a stride it is a factorised reduction without ReLU, otherwise nothing.
    """
    assert isinstance(placed.layer, CellAt)
    channels = placed.layer.channels
    some = sorted(inputs) if cell.output == "unused" and placed.layer.stride == 2 else ()
    return nn.ModuleDict({str(n): FactorizedReduce(channels, channels, norm, relu=False) for n in some})


def edge_shape(cell: Cell, placed: PlacedLayer, source: int) -> tuple[int, int]:
    """Return what an edge from node `source` has to do besides its operation: channels it reads, and its stride."""
    assert isinstance(placed.layer, CellAt)
    if source >= cell.inputs:
        return placed.layer.channels, 1
    return placed.layer.channels if cell.project else placed.inputs[source].channels, placed.layer.stride


class AuxiliaryHead(nn.Module):
    """DARTS' second classifier, which helps to train a deep network: (B, C, H, W) -> (B, classes).

    Of 8x8 pixels (CIFAR) or 7x7 (ImageNet) it is the one of the paper's code; other sizes are averaged to the same 2x2.
    At 7x7 that code leaves the second batch norm out, and so does this.
    """

    def __init__(self, place: Shape, classes: int) -> None:
        super().__init__()
        side = (place.height, place.width)
        pool = {(8, 8): nn.AvgPool2d(5, stride=3), (7, 7): nn.AvgPool2d(5, stride=2)}.get(side)
        second = [] if side == (7, 7) else [batch_norm(768)]
        self.features = nn.Sequential(
            *(nn.ReLU(), pool or nn.AdaptiveAvgPool2d(2)),
            *(nn.Conv2d(place.channels, 128, 1, bias=False), batch_norm(128), nn.ReLU()),
            *(nn.Conv2d(128, 768, 2, bias=False), *second, nn.ReLU()),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.classifier(self.features(x).flatten(1))
        return out


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Set whole images' features to 0 with that probability and scale the others up: (B, C, H, W) -> the same.

    FractalNet (Larsson, Maire & Shakhnarovich, 2017), one draw per image, as in DARTS.
    """
    keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - probability)
    return x * keep / (1 - probability)
