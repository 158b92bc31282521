"""Laying out: the layers of a skeleton for a network_size, each with the shapes that it reads and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from supernet.errors import UserError, at_least, unknown
from supernet.spaces.cell import Cell
from supernet.spaces.size import CellAt, HeadAt, Layer, NetworkSize, PlacedLayer, Shape, StemAt, last
from supernet.spaces.skeleton import Skeleton


def lay(
    name: str, cells: Mapping[str, Cell], skeleton: Skeleton, network_size: NetworkSize, parts: Mapping[str, int]
) -> tuple[PlacedLayer, ...]:
    """Return the layers of a space in order; `parts` says per kind of cell how many nodes' channels its output has.

    Raises UserError for a network_size that cannot be, and for layers that do not fit each other.
    """
    at_least(
        1,
        width=network_size.width,
        depth=network_size.depth,
        channels=network_size.channels,
        classes=network_size.classes,
    )
    at_least(1, image_height=network_size.image_size[0], image_width=network_size.image_size[1])
    at_least(0, stem=network_size.stem, reductions=network_size.reductions)
    if network_size.halvings > _halvable(network_size.image_size):
        raise _too_small(network_size)
    placed: list[PlacedLayer] = []
    outputs: list[Shape] = []
    reduced = 0
    for layer in skeleton.plan(network_size.width, network_size.depth, network_size.halvings):
        if not outputs and isinstance(layer, CellAt):
            raise UserError(f"the skeleton of space '{name}' begins with a cell; it needs a stem before it")
        inputs = (
            _inputs(cells, layer, outputs) if outputs else (Shape(network_size.channels, *network_size.image_size),)
        )
        fitted = _fitted(layer, inputs[-1], network_size, reduced)
        reduced += getattr(fitted, "stride", 1) == 2
        placed.append(PlacedLayer(fitted, inputs, _output(fitted, inputs, network_size, parts)))
        outputs.append(placed[-1].output)
    if network_size.reductions is not None and reduced < network_size.reductions:
        raise UserError(f"space '{name}' has {reduced} reductions, not {network_size.reductions}")
    return tuple(placed)


def _inputs(cells: Mapping[str, Cell], layer: Layer, outputs: Sequence[Shape]) -> tuple[Shape, ...]:
    if not isinstance(layer, CellAt):
        return last(outputs, 1)
    if layer.kind not in cells:
        raise unknown("kind of cell", layer.kind, cells)
    cell = cells[layer.kind]
    inputs = last(outputs, cell.inputs)
    for number, place in enumerate(inputs):
        _check_input(layer.kind, cell, number, place, inputs[-1])
    return inputs


def _output(layer: Layer, inputs: tuple[Shape, ...], network_size: NetworkSize, parts: Mapping[str, int]) -> Shape:
    match layer:
        case StemAt(channels, halvings):
            return inputs[-1].at(channels, 1 << halvings)
        case CellAt(kind, channels, stride):
            return inputs[-1].at(channels * parts[kind], stride)
        case HeadAt():
            return Shape(network_size.classes, 1, 1)
    return inputs[-1].at(layer.channels, layer.stride)


def _fitted(layer: Layer, reads: Shape, network_size: NetworkSize, reduced: int) -> Layer:
    """Return the layer with stride 1 if the network_size has no reduction left, or if too few pixels would be."""
    if isinstance(layer, StemAt | HeadAt) or layer.stride == 1:
        return layer
    side = min(reads.height, reads.width)
    if network_size.reductions is None:
        return layer if side > 2 else replace(layer, stride=1)
    if reduced == network_size.reductions:
        return replace(layer, stride=1)
    if side == 1:
        raise _too_small(network_size)
    return layer


def _halvable(size: tuple[int, int]) -> int:
    """Return how often the sides, rounded up, can be halved until one of them is a single pixel."""
    return (min(size) - 1).bit_length()


def _too_small(network_size: NetworkSize) -> UserError:
    asked = f"{network_size.halvings} halvings in the stem and {network_size.reductions or 0} reductions"
    size, times = "{}x{}".format(*network_size.image_size), _halvable(network_size.image_size)
    return UserError(f"images of {size} pixels are too small for {asked}: at most {times} in all")


def _check_input(kind: str, cell: Cell, number: int, place: Shape, nearest: Shape) -> None:
    same = (place.height, place.width) == (nearest.height, nearest.width)
    halved = place.at(0, 2) == replace(nearest, channels=0)
    if same or (cell.project and halved):
        return
    advice = "input can have at most twice the resolution" if cell.project else "inputs need project=True for that"
    raise UserError(f"input {number} of cell '{kind}' has {place}, its nearest input {nearest}: {advice}")
