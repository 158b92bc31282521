"""Parameters and FLOPs, counted on modules that are built without memory, and whether all shapes of a space meet.

FLOPs are what the field's tables count for one image: one per multiply-add of a convolution or linear layer and one per
bias of the classifier; batch norm, pooling and additions count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

from supernet.errors import UserError
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, PlacedLayer, Shape
from supernet.spaces.size import NetworkSize


@dataclass(frozen=True)
class Cost:
    """Learnable parameters, and multiply-adds for one image."""

    params: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.flops + other.flops)


def cost(space: SearchSpace, genotype: Genotype, network_size: NetworkSize) -> Cost:
    """Return the cost of the network of `genotype`, for one image, without an auxiliary head.

    Raises UserError if the genotype is not of `space`.
    """
    return Prices(space, network_size).total(genotype)


class Prices:
    """What every operation of a space costs in a network_size.

    The cost of an architecture is a sum over its edges and what is on none of them.
    """

    def __init__(self, space: SearchSpace, network_size: NetworkSize) -> None:
        self.space, self._network_size = space, network_size
        self._layout = space.layout(network_size)
        self._known: dict[tuple[str, int, str], Cost] = {}
        self._rests: dict[tuple[tuple[int, tuple[int, ...]], ...], Cost] = {}

    def of(self, kind: str, edge: int, op: str) -> Cost:
        """Return the cost of operation `op` on edge number `edge` of all cells of a kind together."""
        key = (kind, edge, op)
        if key not in self._known:
            tried = trials(self.space, self._layout, kind, self.space.cells[kind].edges[edge])
            self._known[key] = sum((_tried(self.space.primitive(op), *trial)[0] for trial in tried), Cost())
        return self._known[key]

    def total(self, genotype: Genotype) -> Cost:
        """Return the cost of an architecture; raises UserError if it is not one of the space."""
        chosen = [
            self.of(kind, e, self.space.cells[kind].edges[e].ops[column])
            for kind, columns in self.space.columns(genotype).items()
            for e, column in enumerate(columns)
            if column is not None
        ]
        return sum(chosen, self.fixed if self.space.has_additive_cost else self._rest(genotype))

    @cached_property
    def fixed(self) -> Cost:
        """The cost of what is on no edge, where it is the same for all architectures: in a space that `adds_up`."""
        assert self.space.has_additive_cost
        return self._off_edges(self._layout, dict.fromkeys(self.space.cells, ()))

    def _rest(self, genotype: Genotype) -> Cost:
        """Return the cost of what is on no edge: it depends on how many nodes outputs hold, and on which inputs."""
        ends = {kind: cell.ends({c.source for c in genotype[kind]}) for kind, cell in self.space.cells.items()}
        inputs = {kind: tuple(n for n in own if n < self.space.cells[kind].inputs) for kind, own in ends.items()}
        key = tuple((len(own), inputs[kind]) for kind, own in ends.items())
        if key not in self._rests:
            self._rests[key] = self._off_edges(self.space.layout(self._network_size, genotype), inputs)
        return self._rests[key]

    def _off_edges(self, layout: tuple[PlacedLayer, ...], inputs: Mapping[str, tuple[int, ...]]) -> Cost:
        """Return the cost of all layers without their edges; `inputs` are those that the output of a cell holds."""
        kinds = [placed.layer.kind if isinstance(placed.layer, CellAt) else None for placed in layout]
        costs = (
            _fixed(placed) if kind is None else _around(placed, self.space.cells[kind], inputs[kind])
            for placed, kind in zip(layout, kinds, strict=True)
        )
        return sum(costs, Cost())


def check_shapes(space: SearchSpace, network_size: NetworkSize) -> None:
    """Try every operation wherever it stands; raises UserError for one that cannot be built, run, or fits no edge."""
    layout = space.layout(network_size)
    for kind, cell in space.cells.items():
        for edge in cell.edges:
            for reads, channels, stride in trials(space, layout, kind, edge):
                for op in edge.ops:
                    _, found = _tried(space.primitive(op), reads, channels, stride)
                    wanted = (1, *_tuple(reads.at(channels, stride)))
                    if found != wanted:
                        raise UserError(
                            f"operation '{op}' on edge {edge} of cell '{kind}' gives {found} where {wanted} is needed: "
                            f"build({reads.channels}, {channels}, {stride}, norm) must keep to its channels and stride"
                        )


def trials(
    space: SearchSpace, layout: tuple[PlacedLayer, ...], kind: str, edge: Edge
) -> Iterator[tuple[Shape, int, int]]:
    """Yield for each cell of a kind what an edge reads, the channels it gives and its stride."""
    from supernet.models.layers import edge_shape

    for placed in layout:
        if isinstance(placed.layer, CellAt) and placed.layer.kind == kind:
            cin, stride = edge_shape(space.cells[kind], placed, edge.source)
            reads = placed.inputs[-1] if edge.source < space.cells[kind].inputs else placed.output
            yield Shape(cin, reads.height, reads.width), placed.layer.channels, stride


@cache
def _tried(primitive: Primitive, reads: Shape, channels: int, stride: int) -> tuple[Cost, tuple[int, ...]]:
    """Return the cost of an operation, and the shape it gives for one image."""
    from supernet.spaces.modules import PLAIN

    if primitive.zero:  # no network builds it
        return Cost(), (1, *_tuple(reads.at(channels, stride)))
    try:
        return _count(lambda: primitive.build(reads.channels, channels, stride, PLAIN), reads)
    except UserError as error:
        raise UserError(f"operation '{primitive.name}' does not fit there: {error}") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"operation '{primitive.name}' cannot run on {reads} with {channels} channels out and stride {stride}: "
            f"{reason}"
        ) from None


@cache
def _fixed(placed: PlacedLayer) -> Cost:
    """Return the cost of a layer that is not searched."""
    from supernet.models.layers import build_layer

    return _count(lambda: build_layer(placed), placed.inputs[-1])[0]


@cache
def _around(placed: PlacedLayer, cell: Cell, inputs: tuple[int, ...]) -> Cost:
    """Return the cost of what is not searched in a cell whose output holds these of its inputs."""
    from supernet.models.layers import projections, shortened
    from supernet.spaces.modules import PLAIN

    assert isinstance(placed.layer, CellAt)
    inside = replace(placed.inputs[-1], channels=placed.layer.channels)

    def projection(number: int) -> Cost:
        return _count(lambda: projections(cell, placed, PLAIN)[number], placed.inputs[number])[0]

    def reduction(number: str) -> Cost:
        return _count(lambda: shortened(cell, placed, PLAIN, inputs)[number], inside)[0]

    reductions = (reduction(number) for number in shortened(cell, placed, PLAIN, inputs))
    return sum((projection(number) for number in range(cell.inputs)), sum(reductions, Cost()))


def _count(build: Callable[[], object], reads: Shape) -> tuple[Cost, tuple[int, ...]]:
    """Build a module without memory and run it on one image."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module = build()
        if not isinstance(module, nn.Module):
            raise TypeError(f"build returned a {type(module).__name__}, no module")
        module.eval()  # batch norm trains on no single pixel
        found = module(torch.empty(1, *_tuple(reads)))
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    biases = sum(m.out_features for m in module.modules() if isinstance(m, nn.Linear) and m.bias is not None)
    return Cost(params, counter.get_total_flops() // 2 + biases), tuple(found.shape)


def _tuple(place: Shape) -> tuple[int, int, int]:
    return place.channels, place.height, place.width
