"""Latencies of networks: from the table of a space, or measured on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from supernet.errors import UserError
from supernet.models.cost.count import placements
from supernet.models.cost.limits import MEASURED
from supernet.models.cost.options import PerOperation
from supernet.spaces import tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import Shape
from supernet.spaces.size import NetworkSize

if TYPE_CHECKING:
    import torch
    from torch import nn

NANOSECONDS = 1_000_000  # in a millisecond; sums over operations are exact in integers


def latency_fields(space: SearchSpace) -> list[str]:
    """Return the fields of the space's table that are latencies in milliseconds; none without a table."""
    fields = () if space.table is None else tables.load(space.table).fields
    return [name for name in fields if name.startswith("latency_") and name.endswith("_ms")]


class TabulatedLatency:
    """The latencies in one field of a space's table; the field determines the network size and the device.

    Raises UserError if the space has no table, or the table no such latency in milliseconds.
    """

    def __init__(self, space: SearchSpace, field: str) -> None:
        fields = latency_fields(space)
        if space.table is None or field not in fields:
            raise UserError(f"unknown latency '{field}'; space '{space.name}' has: {', '.join([MEASURED, *fields])}")
        table = tables.load(space.table)
        self._table, self._values = table, table.column(field)
        self.source = f"{field} of {table.name}"

    @property
    def highest(self) -> float:
        """The highest latency of an architecture that has one."""
        return float(np.nanmax(self._values))

    def ms(self, genotype: Genotype) -> float:
        """Return the latency of an architecture, NaN if the table has none."""
        return float(self._values[self._table.index(genotype)])


class MeasuredLatency:
    """Latencies of networks of one size on a device of this machine, for one image; each is measured once.

    `measurements`: all latencies so far in milliseconds, by the text of an architecture or of a placed operation. A
    resumed run puts back what it has measured. All processes of a group have to ask together, and get what the first
    one knows or measures.
    """

    def __init__(self, space: SearchSpace, network_size: NetworkSize, device: str | torch.device) -> None:
        import torch

        self._space, self._network_size, self._device = space, network_size, torch.device(device)
        self.measurements: dict[str, float] = {}

    @property
    def source(self) -> str:
        """Where and how latencies are measured, in words."""
        import torch

        threads = torch.get_num_threads()
        where = f"{threads} thread{'s' * (threads > 1)} of the CPU" if self._device.type == "cpu" else str(self._device)
        return f"measured on {where}, one image"

    def ms(self, genotype: Genotype) -> float:
        """Return the median latency of an architecture."""
        from supernet.models.network import Network

        image = Shape(self._network_size.channels, *self._network_size.image_size)
        build = partial(Network, self._space, genotype, self._network_size)
        return self._known(str(genotype), lambda: self._timed(build, image))

    @cached_property
    def per_operation(self) -> PerOperation:
        """The latency of each operation on its own in nanoseconds, summed over all cells of a kind.

        The sum over the operations of an architecture leaves out the rest of its network and all overlap. It only tells
        which architectures are worth measuring.
        """
        layout, cells = self._space.layout(self._network_size), self._space.cells.items()
        places = {k: [list(placements(self._space, layout, k, edge)) for edge in cell.edges] for k, cell in cells}
        return {
            kind: [
                [sum(self._operation(self._space.primitive(op), *p) for p in places[kind][e]) for op in edge.ops]
                for e, edge in enumerate(cell.edges)
            ]
            for kind, cell in cells
        }

    def _operation(self, primitive: Primitive, shape: Shape, channels: int, stride: int) -> int:
        """Return the nanoseconds of an operation in one place."""
        from supernet.spaces.modules import PLAIN

        text = f"{primitive.name} on {shape}, {channels} channels, stride {stride}"
        build = partial(primitive.module, shape.channels, channels, stride, PLAIN)
        return round(NANOSECONDS * self._known(text, lambda: 0.0 if primitive.zero else self._timed(build, shape)))

    def _known(self, text: str, measure: Callable[[], float]) -> float:
        """Return the latency of a text; the first process, which may alone have measured it before, tells the others.

        A process that looked it up by itself would not wait for those that lack it.
        """
        from supernet.engine.processes import by_first

        @by_first
        def known() -> float:
            return self.measurements[text] if text in self.measurements else measure()

        self.measurements[text] = known()
        return self.measurements[text]

    def _timed(self, build: Callable[[], nn.Module], shape: Shape) -> float:
        """Return the median milliseconds of a forward pass for one image; the random state stays as it was."""
        import torch

        from supernet.engine.measure import latency
        from supernet.engine.seeds import random_state_kept

        with random_state_kept(self._device):
            module = build().to(self._device).eval()
            x = torch.rand(1, shape.channels, shape.height, shape.width, device=self._device)
            return latency(module, x).median
