"""MixedCell: a cell that runs all candidates of all edges and sums them with the op weights, by either engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from supernet.models.fused.plan import Candidate, Stage, plan_stage
from supernet.models.fused.steps import mode
from supernet.models.layers import edge_shape, projections, shortened, with_drop_path
from supernet.models.mix import EdgeMix
from supernet.models.side_paths import PLAIN, CellOptions, SidePass, SidePaths
from supernet.models.slices import share_slices
from supernet.spaces.modules import Norm, Unused, zeros
from supernet.spaces.operations import Primitive
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, PlacedLayer

Engine = Literal["fused", "reference"]
Active = tuple[tuple[int, ...], ...] | None
"""For each edge, the columns that run; None for all."""

T = TypeVar("T")
_Nodes = list[Tensor | None]
"""The tensor of each node, (B, C, H, W); None while nothing has been added to the node."""

_Zeros = Callable[[int], Tensor]
"""Returns the zeros that stand for an empty node, for a stride."""

_PLANS = 256  # plans kept per cell: methods that sample a path in every step need many
_CACHE = 2 * 2**20  # bytes: on a CPU, merging separable convolutions of larger tensors is slower than running each


class MixedCell(nn.Module):
    """A cell with all its candidates: node j = sum over edges i->j and ops k of weight[e, k] * op[e, k](node i).

    This is the mixed operation of DARTS (Liu, Simonyan & Yang, 2019), eq. 2, with any weights in place of the softmax.
    `placed` is the cell's layer in the layout of the space.

    In training, each image's output of an operation is dropped with probability `drop_path`, as in a `Network`, and
    that of an edge, the sum of its candidates, with probability `drop_edges` (R-DARTS, released code); then the
    reference engine runs. `options` add side paths and dropout, see `supernet.models.side_paths`.
    """

    engine: Engine = "fused"
    drop_path: float = 0.0
    drop_edges: float = 0.0

    def __init__(self, space: SearchSpace, placed: PlacedLayer, norm: Norm, options: CellOptions = PLAIN) -> None:
        super().__init__()
        layer = placed.layer
        assert isinstance(layer, CellAt)
        self.cell, self.channels, self.stride = space.cells[layer.kind], layer.channels, layer.stride
        self.inputs = projections(self.cell, placed, norm)
        self.shortened = shortened(self.cell, placed, norm, range(self.cell.inputs))
        self.join = Unused(self.cell.nodes, self.channels, norm) if self.cell.output == "unused" else None
        primitives = [[space.primitive(op) for op in edge.ops] for edge in self.cell.edges]
        shapes = [edge_shape(self.cell, placed, edge.source) for edge in self.cell.edges]
        self.mixed = self.channels // options.partial  # the channels that candidates compute
        self.paths = SidePaths(self.cell, options, self.channels, shapes, norm) if options.side_paths else None
        self.dropouts: list[nn.Dropout] = []  # parts of the operations that have one

        def operation(p: Primitive, cin: int, stride: int) -> nn.Module:
            made = p.module(cin // options.partial, self.mixed, stride, norm)
            if p.name not in options.dropout:
                return made
            self.dropouts.append(nn.Dropout(0.0))
            return nn.Sequential(made, self.dropouts[-1])

        self.ops = nn.ModuleList(
            nn.ModuleList(operation(p, cin, stride) for p in row)
            for row, (cin, stride) in zip(primitives, shapes, strict=True)
        )
        if space.sliced:
            for row in self.ops.children():
                share_slices(row.children())
        # `none` never runs: its output and its weight's gradient are zero anyway
        self._all_active = tuple(tuple(k for k, p in enumerate(row) if not p.zero) for row in primitives)
        self._norm_modes: Hashable = None  # what the plans were made for
        self._plans: dict[Hashable, Any] = {}
        self._candidates: dict[int, Candidate] = {}
        self._planned: list[tuple[nn.Module | None, ...]] = []  # the candidates of each edge
        self.notice_replaced()

    def notice_replaced(self) -> None:
        """Forget all plans if a candidate is not the module that it was; what a candidate consists of is not looked at.

        Every pass begins with this, so it must cost little: a few microseconds.
        """
        found = [tuple(row._modules.values()) for row in self.ops.children()]
        if found == self._planned:
            return
        modules = [id(module) for row in self.ops.children() for op in row.children() for module in op.modules()]
        # Operations that share a module run one after the other: their order decides its running statistics
        self._shares_modules = len(set(modules)) < len(modules)
        self._norms = [module for module in self.ops.modules() if isinstance(module, nn.BatchNorm2d)]
        self._plans.clear()
        self._candidates.clear()
        self._planned = found

    def forward(self, inputs: Sequence[Tensor], mix: EdgeMix) -> Tensor:
        """Map the outputs of the layers before, (B, C, H, W) each, to (B, C, H, W) as the layout says."""
        self.notice_replaced()
        nodes: _Nodes = [project(x) for project, x in zip(self.inputs, inputs, strict=True)]
        nodes += [None] * (self.cell.nodes - len(nodes))
        empty = partial(zeros, inputs[-1], self.mixed)
        sides = None if self.paths is None else SidePass(self.paths, nodes, mix)
        if mix.shift is not None:
            self._add_shift(nodes, mix.shift, empty)
        drops = self._drops_edges or (self._drops_paths and not mix.ones)
        reference = self.engine == "reference" or self._shares_modules or drops
        run = self._run_reference if reference else self._run_sparse if mix.ones else self._run_fused
        run(nodes, mix, empty, sides)
        ends = self.ends(mix.active)
        if sides is not None:
            sides.complete(self.cell.nodes)
            nodes = sides.whole
            empty = partial(zeros, inputs[-1], self.channels)
        for number, reduce in self.shortened.items():
            if int(number) in ends:
                nodes[int(number)] = reduce(nodes[int(number)])
        values = [empty(self.stride) if value is None else value for value in (nodes[end] for end in ends)]
        return torch.cat(values, dim=1) if self.join is None else self.join(values, ends)

    def ends(self, active: Active) -> tuple[int, ...]:
        """Return the nodes that make up the output; an edge whose only active operation is `none` reads its source."""
        return self.cell.ends({edge.source for e, edge in enumerate(self.cell.edges) if active is None or active[e]})

    def _add_shift(self, nodes: _Nodes, shift: Tensor, empty: _Zeros) -> None:
        for edge, value in zip(self.cell.edges, shift.to(empty(1).dtype).unbind(), strict=True):
            total = nodes[edge.target]
            nodes[edge.target] = (empty(self.stride) if total is None else total) + value

    def _run_reference(self, nodes: _Nodes, mix: EdgeMix, empty: _Zeros, sides: SidePass | None) -> None:
        """Run one operation after the other."""
        like = empty(1)
        weights = [row.unbind() for row in mix.products.to(like.dtype).unbind()]
        kept = self._kept(like) if self._drops_edges else None
        for e, k in self.candidates(mix.active):  # edges are sorted by target: every source is complete when it is read
            edge = self.cell.edges[e]
            if sides is not None:
                sides.complete(edge.source + 1)
            source, total = nodes[edge.source], nodes[edge.target]
            x = empty(self.stride) if source is None else source
            weight = weights[e][k] if kept is None else weights[e][k] * kept[e]
            part = self._drop_images(e, k, x, self.ops[e][k](x)) * weight  # type: ignore[index]
            nodes[edge.target] = part if total is None else total + part

    def _run_fused(self, nodes: _Nodes, mix: EdgeMix, empty: _Zeros, sides: SidePass | None) -> None:
        """Run all operations that read a node together."""
        x = nodes[self.cell.inputs - 1]
        assert x is not None  # an input node is never empty
        program = self._program(mix.active, _most_grouped(x))
        weights = mix.products.to(torch.promote_types(x.dtype, torch.float32)).flatten()
        weights = weights.index_select(0, program.indices(weights.device))
        parts = zip(program.stages, program.idle, torch.split(weights, program.sizes), strict=True)
        for stage, idle, some in parts:
            if sides is not None:
                sides.complete(stage.source + 1)
            source = nodes[stage.source]
            with torch.set_grad_enabled(torch.is_grad_enabled() and not idle):
                sums = stage(empty(self.stride) if source is None else source, some, [nodes[t] for t in stage.targets])
            for target, total in zip(stage.targets, sums, strict=True):
                nodes[target] = total

    def _run_sparse(self, nodes: _Nodes, mix: EdgeMix, empty: _Zeros, sides: SidePass | None) -> None:
        """Run and add the active operations as a `Network` does: with one or two per edge there is little to fuse."""
        for stage, _ in self.stages(mix.active, 0):
            if sides is not None:
                sides.complete(stage.source + 1)
            source = nodes[stage.source]
            x = empty(self.stride) if source is None else source
            for output, z in stage.outputs(x):
                for number, one in enumerate(output.candidates):
                    part, total = output.norms[number](z) if output.norms else z, nodes[one.target]
                    part = self._drop_images(*divmod(one.index, self.cell.columns), x, part)
                    nodes[one.target] = part if total is None else total + part

    @property
    def _drops_paths(self) -> bool:
        return self.training and self.drop_path > 0

    @property
    def _drops_edges(self) -> bool:
        return self.training and self.drop_edges > 0

    def _kept(self, like: Tensor) -> Tensor:
        """Draw the factors (edges, B, 1, 1, 1) of the edges' outputs for an image: 0, or what scales up the others."""
        drawn = like.new_empty(len(self.cell.edges), len(like), 1, 1, 1).bernoulli_(1 - self.drop_edges)
        return drawn / (1 - self.drop_edges)

    def _drop_images(self, e: int, k: int, x: Tensor, part: Tensor) -> Tensor:
        """Drop an operation, whose output for `x` is `part`, for some images."""
        return with_drop_path(self.ops[e][k], x, part, self.drop_path) if self._drops_paths else part  # type: ignore[index]

    def candidates(self, active: Active) -> list[tuple[int, int]]:
        """Return (edge, column) of every candidate that runs."""
        chosen = self._all_active if active is None else active
        return [(e, k) for e, columns in enumerate(chosen) for k in columns if k in self._all_active[e]]

    def candidate(self, e: int, k: int) -> Candidate:
        """Return the candidate of edge `e` and column `k`."""
        index = e * self.cell.columns + k
        if index not in self._candidates:
            self._candidates[index] = Candidate.of(index, self.cell.edges[e].target, self.ops[e][k])  # type: ignore[index]
        return self._candidates[index]

    def stages(self, active: Active, most: int) -> list[tuple[Stage, bool]]:
        """Return the plans of a pass, one for each node that is read, and whether the plan leads to no output.

        There are far fewer such plans than architectures, so that a path that was never drawn needs no new ones.
        """
        chosen, alive = self.candidates(active), set(self.ends(active))
        used = {e for e, _ in chosen}
        if self.paths is not None:  # side paths lead through an edge whatever its candidates are
            used = {e for e in range(len(self.cell.edges)) if active is None or active[e]}
        for e in sorted(used, reverse=True):  # sorted by target
            if self.cell.edges[e].target in alive:
                alive.add(self.cell.edges[e].source)
        readers: dict[tuple[int, bool], list[int]] = {}
        for e, k in chosen:
            edge = self.cell.edges[e]
            readers.setdefault((edge.source, edge.target not in alive), []).append(e * self.cell.columns + k)
        return [(self.stage(key[0], frozenset(readers[key]), most), key[1]) for key in sorted(readers)]

    def stage(self, source: int, indices: frozenset[int], most: int = sys.maxsize) -> Stage:
        """Return the plan of candidates that read node `source`, given by their indices in the flattened op weights.

        At most `most` grouped convolutions are merged into one.
        """

        def plan() -> Stage:
            columns = self.cell.columns
            return plan_stage(source, [self.candidate(*divmod(i, columns)) for i in sorted(indices)], most)

        return self._cached((source, indices, most), plan)

    def _program(self, active: Active, most: int) -> _Program:
        return self._cached((active, most), lambda: _Program(self.stages(active, most)))

    def _cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the plan of that key; it is made when first needed, and again when norms differ in other ways.

        Plans read the mode of norms as they run: while it is equal for all, only a momentum of None needs another plan.
        """
        modes = tuple(map(mode, self._norms))
        told = modes if len(set(modes)) > 1 else any(norm.momentum is None for norm in self._norms[:1])
        if told != self._norm_modes:
            self._plans.clear()
            self._candidates.clear()
            self._norm_modes = told
        if key not in self._plans:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[key] = make()
        plan: T = self._plans[key]
        return plan


def _most_grouped(x: Tensor) -> int:
    """Return how many grouped convolutions of tensors like `x` are merged into one at most."""
    return max(1, _CACHE // max(1, x.nbytes)) if x.device.type == "cpu" else sys.maxsize


class _Program:
    """The stages of a cell, one for each node that is read.

    Candidates that lead to no output run, as in the reference engine, because they update running statistics. They run
    in `idle` stages without gradient: a weight with a gradient of 0 would be moved by momentum and weight decay.
    """

    def __init__(self, stages: Sequence[tuple[Stage, bool]]) -> None:
        self.stages, self.idle = [stage for stage, _ in stages], [idle for _, idle in stages]
        self.sizes = [len(stage.indices) for stage in self.stages]
        with torch.inference_mode(False):  # the tensor is kept for training steps, too
            self._indices = torch.tensor([i for stage in self.stages for i in stage.indices], dtype=torch.int64)

    def indices(self, device: torch.device) -> Tensor:
        """Return the indices of the stages' op weights in the flattened op weights, stage after stage."""
        if self._indices.device != device:
            with torch.inference_mode(False):
                self._indices = self._indices.to(device)
        return self._indices
