"""Parameters and FLOPs of the networks of a space, and a check that every operation keeps to its shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, cached_property

from supernet.errors import UserError, place_of
from supernet.models.cost.module import Cost, count
from supernet.models.cost.options import PerOperation
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, PlacedLayer, Shape
from supernet.spaces.size import NetworkSize


def cost(space: SearchSpace, genotype: Genotype, network_size: NetworkSize) -> Cost:
    """Return the cost of the network of `genotype`, for one image and without an auxiliary head.

    Raises UserError if the genotype is not of `space`.
    """
    return OperationCosts(space, network_size).total(genotype)


def largest(space: SearchSpace) -> Genotype:
    """Return the architecture that has on every edge the operation with the most parameters, at the target's size."""
    return space.derive(OperationCosts(space, NetworkSize(*space.target)).per_operation("params"))


class OperationCosts:
    """The costs of all operations of a space in networks of one size, and their sums over architectures."""

    def __init__(self, space: SearchSpace, network_size: NetworkSize) -> None:
        self.space, self._network_size = space, network_size
        self._layout = space.layout(network_size)
        self._operations: dict[tuple[str, int, str], Cost] = {}
        self._rests: dict[tuple[tuple[int, tuple[int, ...]], ...], Cost] = {}

    def of(self, kind: str, edge: int, op: str) -> Cost:
        """Return the cost of operation `op` on edge number `edge`, summed over all cells of a kind."""
        key = (kind, edge, op)
        if key not in self._operations:
            primitive = self.space.primitive(op)
            places = placements(self.space, self._layout, kind, self.space.cells[kind].edges[edge])
            self._operations[key] = sum((_operation(primitive, *place) for place in places), Cost())
        return self._operations[key]

    def per_operation(self, name: str) -> PerOperation:
        """Return one field of Cost of all operations: an integer per kind of cell, edge and column."""
        return {
            kind: [[getattr(self.of(kind, e, op), name) for op in edge.ops] for e, edge in enumerate(cell.edges)]
            for kind, cell in self.space.cells.items()
        }

    def total(self, genotype: Genotype) -> Cost:
        """Return the cost of an architecture's network; raises UserError if the space has no such architecture."""
        operations = [
            self.of(kind, e, self.space.cells[kind].edges[e].ops[column])
            for kind, columns in self.space.columns(genotype).items()
            for e, column in enumerate(columns)
            if column is not None
        ]
        return sum(operations, self.fixed if self.space.has_additive_cost else self._rest(genotype))

    @property
    def supernet(self) -> Cost:
        """The cost of all operations, cells and other layers, as if no two of them shared a weight."""
        cells, inputs = self.space.cells, {kind: tuple(range(cell.inputs)) for kind, cell in self.space.cells.items()}
        rows = ((kind, e, edge) for kind, cell in cells.items() for e, edge in enumerate(cell.edges))
        operations = (self.of(kind, e, op) for kind, e, edge in rows for op in edge.ops)
        return sum(operations, self._without_operations(self._layout, inputs))

    @cached_property
    def fixed(self) -> Cost:
        """The cost of everything but the operations, in a space where it is the same for all architectures."""
        assert self.space.has_additive_cost
        return self._without_operations(self._layout, dict.fromkeys(self.space.cells, ()))

    def _rest(self, genotype: Genotype) -> Cost:
        """Return the cost of everything but the operations, which depends on the nodes that form a cell's output."""
        ends = {kind: cell.ends({c.source for c in genotype[kind]}) for kind, cell in self.space.cells.items()}
        inputs = {kind: tuple(n for n in nodes if n < self.space.cells[kind].inputs) for kind, nodes in ends.items()}
        key = tuple((len(nodes), inputs[kind]) for kind, nodes in ends.items())
        if key not in self._rests:
            self._rests[key] = self._without_operations(self.space.layout(self._network_size, genotype), inputs)
        return self._rests[key]

    def _without_operations(self, layout: tuple[PlacedLayer, ...], inputs: Mapping[str, tuple[int, ...]]) -> Cost:
        """Return the cost of all layers without operations; `inputs` are those that a cell's output includes."""
        kinds = [placed.layer.kind if isinstance(placed.layer, CellAt) else None for placed in layout]
        costs = (
            _fixed_layer(placed) if kind is None else _cell(placed, self.space.cells[kind], inputs[kind])
            for placed, kind in zip(layout, kinds, strict=True)
        )
        return sum(costs, Cost())


def auxiliary_cost(space: SearchSpace, network_size: NetworkSize, genotype: Genotype | None = None) -> Cost:
    """Return the cost of the auxiliary head of a network of `space`, by default of the supernet's layout."""
    from supernet.models.layers import AuxiliaryHead, auxiliary_layer

    layout = space.layout(network_size, genotype)
    shape = layout[auxiliary_layer(layout)].output
    return count(lambda: AuxiliaryHead(shape, network_size.classes), shape)[0]


def check_batch_norm(found: Cost, images: int) -> None:
    """Raise UserError if a batch of `images` has a single value per channel for a batch norm of these networks."""
    if found.values * images <= 1:
        raise UserError(
            f"at batch size {images} and features of 1x1 pixels, batch norm has a single value per channel: take a "
            "larger batch size, more images, fewer halvings of the image, or no auxiliary classifier"
        )


def check_shapes(space: SearchSpace, network_size: NetworkSize) -> None:
    """Run every operation in all its places; raises UserError for one that fails or returns another shape."""
    layout = space.layout(network_size)
    for kind, cell in space.cells.items():
        for edge in cell.edges:
            for shape, channels, stride in placements(space, layout, kind, edge):
                for op in edge.ops:
                    try:
                        _operation(space.primitive(op), shape, channels, stride)
                    except UserError as error:
                        hint = _hint(cell, edge) if shape.channels != channels else ""
                        raise UserError(f"edge {edge} of cell '{kind}': {error}{hint}") from None


def _hint(cell: Cell, edge: Edge) -> str:
    """Return what helps where an edge reads other channels than its cell has; in a chain they are meant to differ."""
    if edge.source >= cell.inputs or cell.project or cell.is_chain:
        return ""
    return "; project=True brings the inputs to the cell's channels"


def placements(
    space: SearchSpace, layout: tuple[PlacedLayer, ...], kind: str, edge: Edge
) -> Iterator[tuple[Shape, int, int]]:
    """Yield for each cell of a kind the shape that an edge reads, its output channels and its stride."""
    from supernet.models.layers import edge_shape

    for placed in layout:
        if isinstance(placed.layer, CellAt) and placed.layer.kind == kind:
            channels, stride = edge_shape(space.cells[kind], placed, edge.source)
            source = placed.inputs[-1] if edge.source < space.cells[kind].inputs else placed.output
            yield replace(source, channels=channels), placed.layer.channels, stride


@cache
def _operation(primitive: Primitive, shape: Shape, channels: int, stride: int) -> Cost:
    """Return the cost of an operation; raises UserError if it cannot run there or returns another shape."""
    from supernet.engine.memory import is_shortage
    from supernet.spaces.modules import PLAIN

    if primitive.zero:  # no network builds it
        return Cost()
    try:
        found, output = count(lambda: primitive.module(shape.channels, channels, stride, PLAIN), shape)
    except UserError as error:
        raise UserError(f"operation '{primitive.name}' does not fit there: {error}") from None
    except Exception as error:
        if is_shortage(error):
            raise UserError(
                f"memory is too short for operation '{primitive.name}' on {shape} with {channels} channels out: "
                "take a smaller width or smaller images"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"operation '{primitive.name}' cannot run on {shape} with {channels} channels out and stride {stride}: "
            f"{reason}{place_of(error)}"
        ) from None
    place = shape.at(channels, stride)
    needed = 1, place.channels, place.height, place.width
    if output != needed:
        raise UserError(
            f"operation '{primitive.name}' gives {output} where {needed} is needed: build({shape.channels}, "
            f"{channels}, {stride}, norm) must keep to its channels and stride"
        )
    return found


@cache
def _fixed_layer(placed: PlacedLayer) -> Cost:
    """Return the cost of a layer that is not searched."""
    from supernet.models.layers import build_layer

    return count(lambda: build_layer(placed), placed.inputs[-1])[0]


@cache
def _cell(placed: PlacedLayer, cell: Cell, inputs: tuple[int, ...]) -> Cost:
    """Return the cost of a cell without its operations, whose output includes the cell inputs with these numbers."""
    from supernet.engine.seeds import random_state_kept
    from supernet.models.layers import projections, shortened
    from supernet.spaces.modules import PLAIN

    assert isinstance(placed.layer, CellAt)
    inside = replace(placed.inputs[-1], channels=placed.layer.channels)

    def projection(number: int) -> Cost:
        return count(lambda: projections(cell, placed, PLAIN)[number], placed.inputs[number])[0]

    def reduction(number: str) -> Cost:
        return count(lambda: shortened(cell, placed, PLAIN, inputs)[number], inside)[0]

    with random_state_kept():
        numbers = list(shortened(cell, placed, PLAIN, inputs))
    reductions = (reduction(number) for number in numbers)
    return sum((projection(number) for number in range(cell.inputs)), sum(reductions, Cost()))
