"""Laying out: the layers of a skeleton for a frame, each with the shapes that it reads and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from supernet.errors import UserError, at_least, unknown
from supernet.spaces.cell import Cell
from supernet.spaces.size import CellAt, Frame, HeadAt, Layer, Place, Placed, StemAt, last
from supernet.spaces.skeleton import Skeleton


def lay(
    name: str, cells: Mapping[str, Cell], skeleton: Skeleton, frame: Frame, parts: Mapping[str, int]
) -> tuple[Placed, ...]:
    """Return the layers of a space in order; `parts` says per kind of cell how many nodes' channels its output has.

    Raises UserError for a frame that cannot be, and for layers that do not fit each other.
    """
    at_least(1, width=frame.width, depth=frame.depth, channels=frame.channels, classes=frame.classes)
    at_least(1, image_height=frame.size[0], image_width=frame.size[1])
    at_least(0, stem=frame.stem, reductions=frame.reductions)
    if frame.halvings > _halvable(frame.size):
        raise _too_small(frame)
    placed: list[Placed] = []
    outputs: list[Place] = []
    reduced = 0
    for layer in skeleton.plan(frame.width, frame.depth, frame.halvings):
        if not outputs and isinstance(layer, CellAt):
            raise UserError(f"the skeleton of space '{name}' begins with a cell; it needs a stem before it")
        inputs = _inputs(cells, layer, outputs) if outputs else (Place(frame.channels, *frame.size),)
        fitted = _fitted(layer, inputs[-1], frame, reduced)
        reduced += getattr(fitted, "stride", 1) == 2
        placed.append(Placed(fitted, inputs, _output(fitted, inputs, frame, parts)))
        outputs.append(placed[-1].output)
    if frame.reductions is not None and reduced < frame.reductions:
        raise UserError(f"space '{name}' has {reduced} reductions, not {frame.reductions}")
    return tuple(placed)


def _inputs(cells: Mapping[str, Cell], layer: Layer, outputs: Sequence[Place]) -> tuple[Place, ...]:
    if not isinstance(layer, CellAt):
        return last(outputs, 1)
    if layer.kind not in cells:
        raise unknown("kind of cell", layer.kind, cells)
    cell = cells[layer.kind]
    inputs = last(outputs, cell.inputs)
    for number, place in enumerate(inputs):
        _check_input(layer.kind, cell, number, place, inputs[-1])
    return inputs


def _output(layer: Layer, inputs: tuple[Place, ...], frame: Frame, parts: Mapping[str, int]) -> Place:
    match layer:
        case StemAt(channels, halvings):
            return inputs[-1].at(channels, 1 << halvings)
        case CellAt(kind, channels, stride):
            return inputs[-1].at(channels * parts[kind], stride)
        case HeadAt():
            return Place(frame.classes, 1, 1)
    return inputs[-1].at(layer.channels, layer.stride)


def _fitted(layer: Layer, reads: Place, frame: Frame, reduced: int) -> Layer:
    """Return the layer with stride 1 if the frame has no reduction left, or if too few pixels would be."""
    if isinstance(layer, StemAt | HeadAt) or layer.stride == 1:
        return layer
    side = min(reads.height, reads.width)
    if frame.reductions is None:
        return layer if side > 2 else replace(layer, stride=1)
    if reduced == frame.reductions:
        return replace(layer, stride=1)
    if side == 1:
        raise _too_small(frame)
    return layer


def _halvable(size: tuple[int, int]) -> int:
    """Return how often the sides, rounded up, can be halved until one of them is a single pixel."""
    return (min(size) - 1).bit_length()


def _too_small(frame: Frame) -> UserError:
    asked = f"{frame.halvings} halvings in the stem and {frame.reductions or 0} reductions"
    size, times = "{}x{}".format(*frame.size), _halvable(frame.size)
    return UserError(f"images of {size} pixels are too small for {asked}: at most {times} in all")


def _check_input(kind: str, cell: Cell, number: int, place: Place, nearest: Place) -> None:
    same = (place.height, place.width) == (nearest.height, nearest.width)
    halved = place.at(0, 2) == replace(nearest, channels=0)
    if same or (cell.project and halved):
        return
    advice = "input can have at most twice the resolution" if cell.project else "inputs need project=True for that"
    raise UserError(f"input {number} of cell '{kind}' has {place}, its nearest input {nearest}: {advice}")
