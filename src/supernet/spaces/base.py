"""SearchSpace: what can be searched, as data — cells of nodes and edges, and the skeleton they are stacked in."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from supernet.errors import UserError, unknown
from supernet.genotype import Choice, Genotype, parse_cells
from supernet.primitives import PRIMITIVES, Primitive


@dataclass(frozen=True)
class Edge:
    """A connection from node `source` to node `target` and the names of its candidate operations, in alpha's order."""

    target: int
    source: int
    ops: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph: node 0 is the input, each later node sums its edges, the last node is the output."""

    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        edges = sorted(self.edges, key=lambda edge: (edge.target, edge.source))
        object.__setattr__(self, "edges", tuple(edges))
        places = [(edge.target, edge.source) for edge in edges]
        if len(set(places)) != len(places):
            raise UserError("a cell has two edges between the same two nodes; give one edge both operations instead")
        for edge in edges:
            if not 0 <= edge.source < edge.target:
                raise UserError(f"edge {edge.target}<-{edge.source} must run from a lower node to a higher one")
            if not edge.ops:
                raise UserError(f"edge {edge.target}<-{edge.source} has no candidate operation")
            if len(set(edge.ops)) != len(edge.ops):
                raise UserError(
                    f"edge {edge.target}<-{edge.source} has the same candidate twice: {', '.join(edge.ops)}"
                )
        lonely = set(range(1, self.nodes)) - {edge.target for edge in edges}
        if not edges or lonely:
            raise UserError(f"a cell's node {min(lonely, default=1)} has no edge into it")

    @classmethod
    def dense(cls, nodes: int, ops: Iterable[str]) -> Cell:
        """Build the cell in which every node has an edge from every earlier one, with the same candidates on each."""
        candidates = tuple(ops)
        return cls(tuple(Edge(t, s, candidates) for t in range(1, nodes) for s in range(t)))

    @property
    def nodes(self) -> int:
        """The number of nodes, the input included."""
        return max((edge.target for edge in self.edges), default=0) + 1

    @property
    def columns(self) -> int:
        """The largest number of candidates on an edge: the width of alpha."""
        return max(len(edge.ops) for edge in self.edges)


@dataclass(frozen=True)
class StemAt:
    """The first layer: image channels -> `channels`."""

    channels: int


@dataclass(frozen=True)
class CellAt:
    """A searched cell of one kind at a width."""

    kind: str
    channels: int


@dataclass(frozen=True)
class ReduceAt:
    """A fixed residual block that halves the resolution."""

    channels_in: int
    channels_out: int


@dataclass(frozen=True)
class HeadAt:
    """The classifier on `channels` features."""

    channels: int


Layer = StemAt | CellAt | ReduceAt | HeadAt


@dataclass(frozen=True)
class Skeleton:
    """The stack the cells stand in: a stem, one stage per entry of `stages` (the kind of its cells), a head.

    Between two stages a residual block doubles the channels and halves the resolution.
    """

    stages: tuple[str, ...]

    def plan(self, width: int, depth: int) -> tuple[Layer, ...]:
        """List the layers for `width` channels in the first stage and `depth` cells per stage."""
        layers: list[Layer] = [StemAt(width)]
        for number, kind in enumerate(self.stages):
            channels = width << number
            if number:
                layers.append(ReduceAt(channels // 2, channels))
            layers += [CellAt(kind, channels)] * depth
        return (*layers, HeadAt(width << len(self.stages) - 1))


_NAME, _KIND = re.compile(r"[^|~+\s]+"), re.compile(r"[^:\s]+")  # what can be told apart in a genotype's text


@dataclass(frozen=True)
class SearchSpace:
    """A named set of architectures.

    - `cells`: the kinds of cell, each searched once and repeated over the skeleton.
    - `primitives`: operations of your own, beside the built-in ones, by the name that edges use.
    - `table`: the name of the table that knows this space's accuracies, if one does.

    Raises UserError if a cell, an operation or the whole skeleton is missing, or if a name cannot be used.
    """

    name: str
    cells: Mapping[str, Cell]
    skeleton: Skeleton
    primitives: tuple[Primitive, ...] = ()
    table: str | None = None
    summary: str = field(default="", compare=False)
    paper: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.skeleton.stages:
            raise UserError(f"the skeleton of space '{self.name}' has no stage")
        for primitive in self.primitives:
            if primitive.name in PRIMITIVES:
                raise UserError(f"operation '{primitive.name}' is built in; call your own something else")
        for cell in self.cells.values():
            for name in {op for edge in cell.edges for op in edge.ops}:
                self.primitive(name)
                if not _NAME.fullmatch(name):
                    raise UserError(f"operation '{name}' needs a name without spaces, |, ~ and +")
        for kind in self.skeleton.stages:
            if kind not in self.cells:
                raise unknown("kind of cell", kind, self.cells)
        for kind in self.cells:
            if kind not in self.skeleton.stages:
                raise UserError(f"cell '{kind}' is in no stage of the skeleton: {', '.join(self.skeleton.stages)}")
            if not _KIND.fullmatch(kind):
                raise UserError(f"cell '{kind}' needs a name without spaces and :")

    @cached_property
    def _primitives(self) -> dict[str, Primitive]:
        return PRIMITIVES | {primitive.name: primitive for primitive in self.primitives}

    def primitive(self, name: str) -> Primitive:
        """Return the primitive that edges call `name`; raises UserError if there is none."""
        if name not in self._primitives:
            raise unknown("operation", name, self._primitives)
        return self._primitives[name]

    @property
    def size(self) -> int:
        """The number of architectures."""
        return prod(len(edge.ops) for cell in self.cells.values() for edge in cell.edges)

    def parse(self, text: str) -> Genotype:
        """Read an architecture from its text form; raises UserError if it is not one of this space."""
        return self.check(Genotype.of(self.name, parse_cells(text, sorted(self.cells), inputs=1)))

    def check(self, genotype: Genotype) -> Genotype:
        """Return `genotype` if it is an architecture of this space; raises UserError that says what does not fit."""
        cells = dict(genotype.cells)
        if set(cells) != set(self.cells):
            raise UserError(f"space '{self.name}' has cells {', '.join(self.cells)}; got {', '.join(cells)}")
        for kind, cell in self.cells.items():
            _check_cell(self.name, cell, cells[kind])
        return genotype

    def columns(self, genotype: Genotype) -> dict[str, tuple[int, ...]]:
        """Return per kind of cell and per edge, in the cell's order, the column of the chosen operation."""
        self.check(genotype)
        return {
            kind: tuple(edge.ops.index(choice.op) for edge, choice in zip(cell.edges, genotype[kind], strict=True))
            for kind, cell in self.cells.items()
        }

    def choose(self, columns: Mapping[str, Sequence[int]]) -> Genotype:
        """Return the genotype with the given column on each edge: the inverse of `columns`."""
        return Genotype.of(
            self.name,
            {
                kind: [Choice(e.target, e.source, e.ops[c]) for e, c in zip(cell.edges, columns[kind], strict=True)]
                for kind, cell in self.cells.items()
            },
        )

    def derive(self, strength: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the architecture with the strongest operation on every edge, `none` included; the first wins a tie.

        `strength[kind]` has a row per edge and a column per candidate (columns past an edge's candidates are ignored).
        """
        columns = {}
        for kind, cell in self.cells.items():
            rows = [list(row)[: len(edge.ops)] for edge, row in zip(cell.edges, strength[kind], strict=True)]
            columns[kind] = [max(range(len(row)), key=row.__getitem__) for row in rows]
        return self.choose(columns)

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly."""
        return self.choose({kind: [rng.randrange(len(e.ops)) for e in c.edges] for kind, c in self.cells.items()})


def _check_cell(space: str, cell: Cell, choices: tuple[Choice, ...]) -> None:
    wanted = [f"{edge.target}<-{edge.source}" for edge in cell.edges]
    found = [f"{choice.target}<-{choice.source}" for choice in choices]
    if wanted != found:
        raise UserError(f"space '{space}' has edges {' '.join(wanted)}; this architecture has {' '.join(found)}")
    for edge, choice in zip(cell.edges, choices, strict=True):
        if choice.op not in edge.ops:
            raise unknown(f"operation on edge {edge.target}<-{edge.source} of space '{space}':", choice.op, edge.ops)
