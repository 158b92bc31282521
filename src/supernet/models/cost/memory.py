"""A lower bound of the memory that a network takes, known before any of it is allocated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import nn

from supernet.engine.memory import free_memory
from supernet.engine.seeds import random_state_kept
from supernet.errors import UserError
from supernet.models.layers import build_layer, edge_shape
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import PLAIN
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, PlacedLayer
from supernet.spaces.size import NetworkSize

TRAINED = 3  # copies of the weights in training: with gradient and momentum
_CPU = torch.device("cpu")
_MODULE = 2500  # bytes of a module beside its weights, at least
_VALUE = 4  # bytes
_OPERATION, _PAIR = 2**17, 40  # bytes of an operation, and per pair of its channels: those of a 3x3 convolution


def check_memory(
    space: SearchSpace,
    network_size: NetworkSize,
    device: torch.device = _CPU,
    *,
    genotype: Genotype | None = None,
    images: int = 1,
    copies: int = 1,
    together: bool = True,
) -> None:
    """Raise UserError if a network needs more memory than is free on `device`: its weights and its largest features.

    The network is that of `genotype`, or the supernet. There are `copies` of its weights and a batch of `images`; if
    not `together`, only one operation is there at a time. Nothing is checked where the free memory is unknown.
    """
    free, layout = free_memory(device), Counter(space.layout(network_size, genotype))
    shapes = [shape for placed in layout for shape in (*placed.inputs, placed.output)]
    features = images * _VALUE * max(shape.channels * shape.height * shape.width for shape in shapes)
    if free is None or _usual(space, layout, copies) + features < free:
        return
    sizes = list(_sizes(space, layout, genotype))
    weights = sum(size * count for size, count in sizes) if together else max(size for size, _ in sizes)
    needed = copies * weights + features
    if needed > free:
        raise UserError(
            f"width {network_size.width} and depth {network_size.depth} need at least {_text(needed)} of memory, and "
            f"{_text(free)} are free on {device}: take a smaller width or depth, or a smaller batch size"
        )


def _usual(space: SearchSpace, layout: Counter[PlacedLayer], copies: int) -> float:
    """Return the bytes of a network whose operations are all large convolutions, without building any."""
    channels = max(getattr(placed.layer, "channels", 1) for placed in layout)
    operations = max(sum(len(edge.ops) for edge in cell.edges) for cell in space.cells.values())
    return layout.total() * operations * (copies * channels**2 * _PAIR + _OPERATION)


def _sizes(space: SearchSpace, layout: Counter[PlacedLayer], genotype: Genotype | None) -> Iterator[tuple[float, int]]:
    """Yield the bytes of each module, and how many of it there are."""
    columns = None if genotype is None else space.columns(genotype)
    for placed, count in layout.items():
        if not isinstance(placed.layer, CellAt):
            yield _layer(placed), count
            continue
        kind = placed.layer.kind
        for e, edge in enumerate(space.cells[kind].edges):
            cin, stride = edge_shape(space.cells[kind], placed, edge.source)
            ops = [op for k, op in enumerate(edge.ops) if columns is None or columns[kind][e] == k]
            sizes = [_operation(space.primitive(op), cin, placed.layer.channels, stride) for op in ops]
            for size in [max(sizes)] if space.sliced and sizes else sizes:  # slices are parts of the largest
                yield size, count


@cache
def _layer(placed: PlacedLayer) -> float:
    return _bytes(lambda: build_layer(placed))


@cache
def _operation(primitive: Primitive, cin: int, cout: int, stride: int) -> float:
    return _bytes(lambda: primitive.module(cin, cout, stride, PLAIN))


def _bytes(build: Callable[[], nn.Module]) -> float:
    """Return the bytes of a module that is built without its values; 0 for one that cannot be built so."""
    try:
        with torch.device("meta"), random_state_kept():
            module = build()
        tensors = [*module.parameters(), *module.buffers()]
        modules = sum(1 for _ in module.modules())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + modules * _MODULE
    except Exception as error:  # of a user's operation, which the check of its shapes reports
        return math.inf if "overflow" in str(error).lower() else 0


def _text(size: float) -> str:
    return f"{min(size, 1e15) / 1e9:,.{0 if size > 1e10 else 2}f} GB"
