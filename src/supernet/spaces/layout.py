"""The layout: the layers of a skeleton for one network size, each with its input and output shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from supernet.errors import UserError, is_whole, shown, unknown, whole
from supernet.spaces.cell import Cell
from supernet.spaces.shapes import CellAt, ConvAt, HeadAt, Layer, PlacedLayer, Shape, StemAt, last
from supernet.spaces.size import NetworkSize
from supernet.spaces.skeleton import Skeleton

_NUMBERS: Mapping[str, tuple[Callable[[int], bool], str]] = {
    "channels": (lambda value: value > 0, "a whole number from 1"),
    "kernel": (lambda value: value > 0 and value % 2 == 1, "an odd number"),
    "halvings": (lambda value: value >= 0, "a whole number from 0"),
    "stride": (lambda value: value in (1, 2), "1 or 2"),
}
DEEPEST = 1000  # cells per stage: beyond it a supernet takes minutes only to be built


def lay_out(
    name: str, cells: Mapping[str, Cell], skeleton: Skeleton, size: NetworkSize, multiples: Mapping[str, int]
) -> tuple[PlacedLayer, ...]:
    """Return the layers of space `name` in order; a cell's output has `multiples[kind]` times the cell's channels.

    Raises UserError for an impossible network size and for layers that do not fit each other.
    """
    _check(size)
    placed: list[PlacedLayer] = []
    outputs: list[Shape] = []
    reduced = 0
    for layer in _checked(name, skeleton.plan(size.width, size.depth, size.halvings)):
        if not outputs and isinstance(layer, CellAt):
            raise UserError(f"the skeleton of space '{name}' begins with a cell; it needs a stem before it")
        inputs = _inputs(cells, layer, outputs) if outputs else (Shape(size.channels, *size.image_size),)
        fitted = _fit_stride(layer, inputs[-1], size, reduced)
        reduced += getattr(fitted, "stride", 1) == 2
        placed.append(PlacedLayer(fitted, inputs, _output(fitted, inputs[-1], size, multiples)))
        outputs.append(placed[-1].output)
    if size.reductions is not None and reduced < size.reductions:
        raise UserError(f"space '{name}' has {reduced} reductions, not {size.reductions}")
    return tuple(placed)


def _checked(name: str, plan: object) -> tuple[Layer, ...]:
    """Return what a skeleton plans; raises UserError unless it is layers with possible numbers, the last one a head."""
    layers = tuple(plan) if isinstance(plan, Iterable) else (plan,)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise UserError(f"the skeleton of space '{name}' plans {shown(repr(layer))}, which is no layer")
        for what, (fits, words) in _NUMBERS.items():
            value = getattr(layer, what, 1)
            if not (is_whole(value) and fits(value)):
                raise UserError(
                    f"the skeleton of space '{name}' has {layer}: {what} must be {words}, not {shown(repr(value))}"
                )
    if [number for number, layer in enumerate(layers, 1) if isinstance(layer, HeadAt)] != [len(layers)]:
        raise UserError(f"the skeleton of space '{name}' must end with a head, which makes logits")
    return layers


def _check(size: NetworkSize) -> None:
    sides = size.image_size
    if not isinstance(sides, Sequence) or len(sides) != 2:
        raise UserError(f"setting image_size must be (height, width), not {sides!r}")
    numbers = {name: value for name, value in asdict(size).items() if name != "image_size"}
    for name, value in (numbers | {"image_height": sides[0], "image_width": sides[1]}).items():
        may_be_none = name in ("stem", "reductions")
        if not (may_be_none and value is None):
            whole(name, value, least=0 if may_be_none else 1)
    if size.depth > DEEPEST:
        raise UserError(f"setting depth must be at most {DEEPEST}, not {size.depth}")
    if size.halvings > _most_halvings(size.image_size):
        raise _too_small(size)


def _inputs(cells: Mapping[str, Cell], layer: Layer, outputs: Sequence[Shape]) -> tuple[Shape, ...]:
    if not isinstance(layer, CellAt):
        return last(outputs, 1)
    if layer.kind not in cells:
        raise unknown("kind of cell", layer.kind, cells)
    cell = cells[layer.kind]
    inputs = last(outputs, cell.inputs)
    for number, shape in enumerate(inputs):
        _check_input(layer.kind, cell, number, shape, inputs[-1])
    return inputs


def _output(layer: Layer, nearest: Shape, size: NetworkSize, multiples: Mapping[str, int]) -> Shape:
    match layer:
        case StemAt(channels, halvings):
            return nearest.at(channels, 1 << halvings)
        case CellAt(kind, channels, stride):
            return nearest.at(channels * multiples[kind], stride)
        case HeadAt():
            return Shape(size.classes, 1, 1)
        case ConvAt(pool=True):
            return nearest.at(layer.channels, 2 * layer.stride)
    return nearest.at(layer.channels, layer.stride)


def _fit_stride(layer: Layer, nearest: Shape, size: NetworkSize, reduced: int) -> Layer:
    """Return the layer, with stride 1 where no reduction is left or where halving would leave too few pixels."""
    if isinstance(layer, StemAt | HeadAt) or layer.stride == 1:
        return layer
    side = min(nearest.height, nearest.width)
    if size.reductions is None:
        return layer if side > 2 else replace(layer, stride=1)
    if reduced == size.reductions:
        return replace(layer, stride=1)
    if side == 1:
        raise _too_small(size)
    return layer


def _most_halvings(image_size: tuple[int, int]) -> int:
    """Return how often an image can be halved, rounding up, until one side is a single pixel."""
    return (min(image_size) - 1).bit_length()


def _too_small(size: NetworkSize) -> UserError:
    asked = f"{size.halvings} halvings in the stem and {size.reductions or 0} reductions"
    pixels = "{}x{}".format(*size.image_size)
    most = _most_halvings(size.image_size)
    return UserError(f"images of {pixels} pixels are too small for {asked}: at most {most} in all")


def _check_input(kind: str, cell: Cell, number: int, shape: Shape, nearest: Shape) -> None:
    same = (shape.height, shape.width) == (nearest.height, nearest.width)
    halved = shape.at(0, 2) == replace(nearest, channels=0)
    if same or (cell.project and halved):
        return
    advice = "input can have at most twice the resolution" if cell.project else "inputs need project=True for that"
    raise UserError(f"input {number} of cell '{kind}' has {shape}, its nearest input {nearest}: {advice}")
