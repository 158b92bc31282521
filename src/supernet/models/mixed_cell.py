"""Mix, and the cell that runs it: every candidate of every edge, weighted and summed, by either engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from supernet.models.fused.plan import Candidate, Stage, candidate, plan_stage
from supernet.models.layers import drop_path, edge_shape, projections, shortened
from supernet.models.mix import EdgeMix
from supernet.spaces.modules import Norm, Unused, zeros
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import CellAt, PlacedLayer


Engine = Literal["fused", "reference"]
T = TypeVar("T")


class MixedCell(nn.Module):
    """A cell with all its candidates: node j = sum over edges i->j and ops k of weight[e, k] * op[e, k](node i).

    This is the mixed operation of DARTS (Liu, Simonyan & Yang, 2019), eq. 2, with any weights in place of the softmax.
    `placed` is the cell's layer in the layout of the space.

    While training, `drop_path` is the probability that what an operation makes of an image is dropped, as in a plain
    network.
    """

    engine: Engine = "fused"
    drop_path: float = 0.0

    def __init__(self, space: SearchSpace, placed: PlacedLayer, norm: Norm) -> None:
        super().__init__()
        layer = placed.layer
        assert isinstance(layer, CellAt)
        self.cell, self.channels, self.stride = space.cells[layer.kind], layer.channels, layer.stride
        self.inputs = projections(self.cell, placed, norm)
        self.shortened = shortened(self.cell, placed, norm, range(self.cell.inputs))
        self.join = Unused(self.cell.nodes, self.channels, norm) if self.cell.output == "unused" else None
        primitives = [[space.primitive(op) for op in edge.ops] for edge in self.cell.edges]
        shapes = [edge_shape(self.cell, placed, edge.source) for edge in self.cell.edges]
        self.ops = nn.ModuleList(
            nn.ModuleList(p.build(cin, self.channels, stride, norm) for p in row)
            for row, (cin, stride) in zip(primitives, shapes, strict=True)
        )
        # An operation that outputs nothing is left out: its output and its weight's gradient are zero either way.
        self._runs = tuple(tuple(k for k, p in enumerate(row) if not p.zero) for row in primitives)
        owned = [id(module) for row in self.ops.children() for op in row.children() for module in op.modules()]
        self._shares = len(set(owned)) < len(owned)  # then its statistics depend on the order of the operations
        self._norms = [module for module in self.ops.modules() if isinstance(module, nn.BatchNorm2d)]
        self._planned_for: tuple[object, ...] = ()  # how the norms were run then
        self._plans: dict[Hashable, Any] = {}
        self._known: dict[int, Candidate] = {}

    def forward(self, inputs: Sequence[Tensor], mix: EdgeMix) -> Tensor:
        """Map the outputs of the layers before, (B, C, H, W) each, to (B, C, H, W) as the layout says."""
        nodes: list[Tensor | None] = [project(x) for project, x in zip(self.inputs, inputs, strict=True)]
        nodes += [None] * (self.cell.nodes - len(nodes))  # None: nothing has reached the node
        empty = partial(zeros, inputs[-1], self.channels)
        if mix.shift is not None:
            self._begin(nodes, mix.shift, empty)
        fused = self._added if mix.ones else self._together
        apart = self.engine == "reference" or self._shares or (self._drops and not mix.ones)
        run = self._one_by_one if apart else fused
        run(nodes, mix, empty)
        ends = self.ends(mix.active)
        for number, reduce in self.shortened.items():
            if int(number) in ends:
                nodes[int(number)] = reduce(nodes[int(number)])
        values = [empty(self.stride) if value is None else value for value in (nodes[end] for end in ends)]
        return torch.cat(values, dim=1) if self.join is None else self.join(values, ends)

    def ends(self, active: tuple[tuple[int, ...], ...] | None) -> tuple[int, ...]:
        """Return the nodes that the output is made of; an edge with an active operation reads, also if that is none."""
        return self.cell.ends({edge.source for e, edge in enumerate(self.cell.edges) if active is None or active[e]})

    def _begin(self, nodes: list[Tensor | None], shift: Tensor, empty: Callable[[int], Tensor]) -> None:
        for edge, own in zip(self.cell.edges, shift.to(empty(1).dtype).unbind(), strict=True):
            total = nodes[edge.target]
            nodes[edge.target] = (empty(self.stride) if total is None else total) + own

    def _one_by_one(self, nodes: list[Tensor | None], mix: EdgeMix, empty: Callable[[int], Tensor]) -> None:
        weights = [row.unbind() for row in mix.weights.to(empty(1).dtype).unbind()]
        for e, k in self.candidates(mix.active):  # sorted by target, so that a source is complete before it is read
            edge = self.cell.edges[e]
            source, total = nodes[edge.source], nodes[edge.target]
            part = self.ops[e][k](empty(self.stride) if source is None else source)  # type: ignore[index]
            part = self._dropped(e, k, part) * weights[e][k]
            nodes[edge.target] = part if total is None else total + part

    def _together(self, nodes: list[Tensor | None], mix: EdgeMix, empty: Callable[[int], Tensor]) -> None:
        x = nodes[self.cell.inputs - 1]
        assert x is not None  # an input is there from the start
        program = self._program(mix.active, _most_together(x))
        weights = mix.weights.to(torch.promote_types(x.dtype, torch.float32)).flatten()
        weights = weights.index_select(0, program.places(weights.device))
        parts = zip(program.stages, program.idle, torch.split(weights, program.sizes), strict=True)
        for stage, idle, own in parts:
            source = nodes[stage.source]
            with torch.set_grad_enabled(torch.is_grad_enabled() and not idle):
                sums = stage(empty(self.stride) if source is None else source, own, [nodes[t] for t in stage.targets])
            for target, total in zip(stage.targets, sums, strict=True):
                nodes[target] = total

    def _added(self, nodes: list[Tensor | None], mix: EdgeMix, empty: Callable[[int], Tensor]) -> None:
        """Sum what runs, as a plain network does: with an operation or two per edge, there is little to be fused."""
        for stage in self._program(mix.active, 0).stages:
            source = nodes[stage.source]
            for end, z in stage.values(empty(self.stride) if source is None else source):
                for number, one in enumerate(end.candidates):
                    part, total = end.norms[number](z) if end.norms else z, nodes[one.target]
                    part = self._dropped(*divmod(one.place, self.cell.columns), part)
                    nodes[one.target] = part if total is None else total + part

    @property
    def _drops(self) -> bool:
        return self.training and self.drop_path > 0

    def _dropped(self, e: int, k: int, part: Tensor) -> Tensor:
        """Drop images of what an operation gives; of what it only passes on, none."""
        passes = not self._drops or isinstance(self.ops[e][k], nn.Identity)  # type: ignore[index]
        return part if passes else drop_path(part, self.drop_path)

    def candidates(self, active: tuple[tuple[int, ...], ...] | None) -> list[tuple[int, int]]:
        """Return edge and column of every candidate that runs."""
        chosen = self._runs if active is None else active
        return [(e, k) for e, columns in enumerate(chosen) for k in columns if k in self._runs[e]]

    def candidate(self, e: int, k: int) -> Candidate:
        """Return what is run of edge `e` and column `k`."""
        place = e * self.cell.columns + k
        if place not in self._known:
            self._known[place] = candidate(place, self.cell.edges[e].target, self.ops[e][k])  # type: ignore[index]
        return self._known[place]

    def stage(self, source: int, places: frozenset[int]) -> Stage:
        """Return what reads node `source`, of the candidates at these places of the flattened op weights."""

        def plan() -> Stage:
            columns = self.cell.columns
            return plan_stage(source, [self.candidate(p // columns, p % columns) for p in sorted(places)], len(places))

        return self._kept((source, places), plan)

    def _program(self, active: tuple[tuple[int, ...], ...] | None, most: int) -> _Program:
        return self._kept((active, most), lambda: _Program(self, active, most))

    def _kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the plan of that key, made if it is not there, or if a norm is run in another way since."""
        norms = tuple((norm.training, norm.momentum, norm.track_running_stats) for norm in self._norms)
        if norms != self._planned_for:
            self._plans.clear()
            self._known.clear()
            self._planned_for = norms
        if key not in self._plans:
            if len(self._plans) == _PLANS:
                self._plans.clear()
            self._plans[key] = make()
        found: T = self._plans[key]
        return found


_PLANS = 256  # kept per cell: where paths are drawn anew in every step there are more
_CACHE = 2 * 2**20  # bytes: on a CPU, separable convolutions side by side are faster up to this size, and slower beyond


def _most_together(x: Tensor) -> int:
    """Return how many grouped convolutions of a tensor like `x` should be one."""
    return max(1, _CACHE // (x.numel() * x.element_size())) if x.device.type == "cpu" else sys.maxsize


class _Program:
    """The stages of a cell: what reads a node, for every node that is read.

    What leads to no output is run after all, as the reference does, for the running statistics' sake; but as `idle`
    stages, without gradient: a weight whose gradient is 0 is moved by momentum and decay, one without is left alone.
    """

    def __init__(self, cell: MixedCell, active: tuple[tuple[int, ...], ...] | None, most: int) -> None:
        chosen, alive = cell.candidates(active), set(cell.ends(active))
        for e, _ in reversed(chosen):  # sorted by target
            if cell.cell.edges[e].target in alive:
                alive.add(cell.cell.edges[e].source)
        readers: dict[tuple[int, bool], list[Candidate]] = {}
        for e, k in chosen:
            edge = cell.cell.edges[e]
            readers.setdefault((edge.source, edge.target not in alive), []).append(cell.candidate(e, k))
        self.stages = [plan_stage(source, readers[source, idle], most) for source, idle in sorted(readers)]
        self.idle = [idle for _, idle in sorted(readers)]
        self.sizes = [len(stage.places) for stage in self.stages]
        with torch.inference_mode(False):  # made once, it must be of use to training, too
            self._places = torch.tensor([place for stage in self.stages for place in stage.places], dtype=torch.int64)

    def places(self, device: torch.device) -> Tensor:
        """Return where in the flattened op weights the stages find theirs, in their order."""
        if self._places.device != device:
            with torch.inference_mode(False):
                self._places = self._places.to(device)
        return self._places
