"""Where a network's latency is known from: the space's table, or measuring it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from supernet.errors import UserError
from supernet.models.cost.count import trials
from supernet.models.cost.limits import MEASURED
from supernet.models.cost.sums import Table
from supernet.spaces import tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import Shape
from supernet.spaces.size import NetworkSize

if TYPE_CHECKING:
    import torch
    from torch import nn

NANOSECONDS = 1_000_000  # in a millisecond: whole numbers, as sums have them


def tabulated(space: SearchSpace) -> list[str]:
    """Return the fields of the space's table that are latencies in milliseconds; none without a table."""
    fields = () if space.table is None else tables.load(space.table).fields
    return [name for name in fields if name.startswith("latency_") and name.endswith("_ms")]


class Tabulated:
    """The latencies of a table, of the network and on the device that its field says.

    Raises UserError if the space has no table with such a latency in milliseconds.
    """

    def __init__(self, space: SearchSpace, field: str) -> None:
        known = tabulated(space)
        if space.table is None or field not in known:
            raise UserError(f"unknown latency '{field}'; space '{space.name}' has: {', '.join([MEASURED, *known])}")
        table = tables.load(space.table)
        self._table, self._values = table, table.column(field)
        self.source = f"{field} of {table.name}"

    def ms(self, genotype: Genotype) -> float:
        """Return the latency of an architecture, NaN if it was not measured."""
        return float(self._values[self._table.index(genotype)])


class Measured:
    """The latency on a device of this machine of the network in a network_size, for one image; measured once for each."""

    def __init__(self, space: SearchSpace, network_size: NetworkSize, device: str | torch.device) -> None:
        import torch

        self._space, self._network_size, self._device = space, network_size, torch.device(device)
        # By the text of an architecture or an operation in its place: what a resumed run must not measure again.
        self.known: dict[str, float] = {}

    @property
    def source(self) -> str:
        """Where it is measured, and how."""
        import torch

        threads = torch.get_num_threads()
        where = f"{threads} thread{'s' * (threads > 1)} of the CPU" if self._device.type == "cpu" else str(self._device)
        return f"measured on {where}, one image"

    def ms(self, genotype: Genotype) -> float:
        """Return the median latency of an architecture."""
        text = str(genotype)
        if text not in self.known:
            from supernet.models.network import Network

            image = Shape(self._network_size.channels, *self._network_size.image_size)
            self.known[text] = self._timed(partial(Network, self._space, genotype, self._network_size), image)
        return self.known[text]

    @cached_property
    def alone(self) -> Table:
        """What each operation takes on its own, in nanoseconds, in all cells of a kind together.

        The sum over an architecture leaves out what is not searched and what operations do to one another: it only
        tells which architecture is worth measuring.
        """
        layout, cells = self._space.layout(self._network_size), self._space.cells.items()
        places = {kind: [list(trials(self._space, layout, kind, edge)) for edge in cell.edges] for kind, cell in cells}
        return {
            kind: [
                [sum(self._alone(self._space.primitive(op), *place) for place in places[kind][e]) for op in edge.ops]
                for e, edge in enumerate(cell.edges)
            ]
            for kind, cell in cells
        }

    def _alone(self, primitive: Primitive, reads: Shape, channels: int, stride: int) -> int:
        """Return the nanoseconds of one operation in one place, measured once."""
        from supernet.spaces.modules import PLAIN

        text = f"{primitive.name} on {reads}, {channels} channels, stride {stride}"
        if text not in self.known:
            build = partial(primitive.build, reads.channels, channels, stride, PLAIN)
            self.known[text] = 0.0 if primitive.zero else self._timed(build, reads)
        return round(NANOSECONDS * self.known[text])

    def _timed(self, build: Callable[[], nn.Module], reads: Shape) -> float:
        """Return the median milliseconds of one pass; the random numbers that weights are drawn from are given back."""
        import torch

        from supernet.engine.measure import latency
        from supernet.engine.seeds import random_state_kept

        with random_state_kept(self._device):
            module = build().to(self._device).eval()
            x = torch.rand(1, reads.channels, reads.height, reads.width, device=self._device)
            return latency(module, x).median
