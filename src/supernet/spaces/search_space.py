"""SearchSpace: what can be searched, as data — cells of nodes and edges, and the skeleton they are stacked in."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import combinations
from math import prod

from supernet.errors import UserError, unknown
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.genotype import Choice, Genotype, is_darts, parse_cells, parse_darts
from supernet.spaces.genotype_text import is_numbers, parse_numbers
from supernet.spaces.layout import lay
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.spaces.size import CellAt, NetworkSize, PlacedLayer
from supernet.spaces.skeleton import Chain, Position, Skeleton

_NAME, _KIND = re.compile(r"[^|~+\s]+"), re.compile(r"[^:\s]+")  # what can be told apart in a genotype's text


@dataclass(frozen=True)
class SearchSpace:
    """A named set of architectures.

    - `cells`: the kinds of cell, each searched once and repeated over the skeleton.
    - `primitives`: operations of your own, beside the built-in ones, by the name that edges use.
    - `table`: the name of the table that knows this space's accuracies, if one does.
    - `norm_pools`: a supernet has a batch norm behind every pooling operation, as in DARTS; a plain network has not.
    - `target`: the width and depth of the networks that the space is for.

    Raises UserError if a cell, an operation or the whole skeleton is missing, if a name cannot be used, or if layers
    do not fit each other.
    """

    name: str
    cells: Mapping[str, Cell]
    skeleton: Skeleton
    primitives: tuple[Primitive, ...] = ()
    table: str | None = None
    norm_pools: bool = False
    target: tuple[int, int] = (16, 5)
    summary: str = field(default="", compare=False)
    paper: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for primitive in self.primitives:
            if primitive.name in PRIMITIVES:
                raise UserError(f"operation '{primitive.name}' is built in; call your own something else")
        for kind, cell in self.cells.items():
            if not _KIND.fullmatch(kind):
                raise UserError(f"cell '{kind}' needs a name without spaces and :")
            self._check_ops(cell)
        width, depth = self.target
        used = {p.layer.kind for p in self.layout(NetworkSize(width, depth)) if isinstance(p.layer, CellAt)}
        for kind in self.cells:
            if kind not in used:
                raise UserError(f"cell '{kind}' is nowhere in the skeleton, which has {', '.join(sorted(used))}")

    def _check_ops(self, cell: Cell) -> None:
        for edge in cell.edges:
            for name in edge.ops:
                self.primitive(name)
                if not _NAME.fullmatch(name):
                    raise UserError(f"operation '{name}' needs a name without spaces, |, ~ and +")
        for edge, columns in zip(cell.edges, self.candidates(cell), strict=True):
            if not columns:
                raise UserError(f"edge {edge} has only 'none' to choose, which a cell with keep={cell.keep} leaves out")

    @classmethod
    def chain(
        cls,
        name: str,
        blocks: Iterable[tuple[Sequence[str], float, int]],
        primitives: tuple[Primitive, ...] = (),
        stem: float = 1,
    ) -> SearchSpace:
        """Build a macro space: a chain of positions, each (candidate operations, channels, stride) with its own choice.

        Channels, of `stem` too, are in multiples of the width. The positions are called 01, 02, ...
        """
        named = {f"{number:02}": block for number, block in enumerate(blocks, 1)}
        cells = {kind: Cell.dense(2, ops) for kind, (ops, _, _) in named.items()}
        positions = tuple(Position(kind, channels, stride) for kind, (_, channels, stride) in named.items())
        return cls(name, cells, Chain(positions, stem), primitives)

    @cached_property
    def _primitives(self) -> dict[str, Primitive]:
        return PRIMITIVES | {primitive.name: primitive for primitive in self.primitives}

    def primitive(self, name: str) -> Primitive:
        """Return the primitive that edges call `name`; raises UserError if there is none."""
        if name not in self._primitives:
            raise unknown("operation", name, self._primitives)
        return self._primitives[name]

    def layout(self, network_size: NetworkSize, genotype: Genotype | None = None) -> tuple[PlacedLayer, ...]:
        """Lay the skeleton out for `network_size`: every layer with the shapes it reads and gives.

        Where cells put out what their edges leave unused, the plain network of `genotype` has other shapes than the
        supernet, which is laid out without one. Raises UserError for a network_size that cannot be, and for layers that do not
        fit each other.
        """
        parts = {kind: self._parts(kind, cell, genotype) for kind, cell in self.cells.items()}
        return lay(self.name, self.cells, self.skeleton, network_size, parts)

    def _parts(self, kind: str, cell: Cell, genotype: Genotype | None) -> int:
        """Return how many nodes' channels a cell's output has."""
        if cell.output != "unused":
            return len(cell.ends(()))
        return 1 if genotype is None else len(cell.ends({choice.source for choice in genotype[kind]}))

    @property
    def adds_up(self) -> bool:
        """Whether a cost is a sum over an architecture's edges: not where outputs depend on what these read."""
        return all(cell.output != "unused" for cell in self.cells.values())

    def fingerprint(self, network_size: NetworkSize) -> str:
        """Return 16 hex digits that tell this space in this network_size from another of the same name."""
        shape = repr((sorted(self.cells.items()), self.norm_pools, self.layout(network_size)))
        return sha256(shape.encode()).hexdigest()[:16]

    def candidates(self, cell: Cell) -> list[list[int]]:
        """Return per edge the columns an architecture may have there: where few edges are kept, all but `none`."""
        return [
            [k for k, op in enumerate(edge.ops) if cell.keep is None or not self.primitive(op).zero]
            for edge in cell.edges
        ]

    @property
    def size(self) -> int:
        """The number of architectures."""
        return prod(self._cell_size(cell) for cell in self.cells.values())

    def _cell_size(self, cell: Cell) -> int:
        counts = [len(columns) for columns in self.candidates(cell)]
        ways = (combinations(group, cell.kept(group)) for group in cell.groups())
        return prod(sum(prod(counts[e] for e in some) for some in group) for group in ways)

    def parse(self, text: str) -> Genotype:
        """Read an architecture: `|op~source|+...`, or DARTS' `Genotype(normal=[...], ...)` for such cells.

        Where cells have branches, it can also be the numbers that NAO writes (see `numbers`).

        Raises UserError if it is not one of this space.
        """
        if is_darts(text):
            return self.check(Genotype.of(self.name, parse_darts(text)))
        branched = [kind for kind, cell in self.cells.items() if cell.branches > 1]
        if branched and is_numbers(text):
            return self.check(Genotype.of(self.name, parse_numbers(text, self.cells)))
        inputs = {kind: cell.inputs for kind, cell in sorted(self.cells.items())}
        return self.check(Genotype.of(self.name, parse_cells(text, inputs, branched)))

    def check(self, genotype: Genotype) -> Genotype:
        """Return `genotype` if it is an architecture of this space; raises UserError that says what does not fit."""
        cells = dict(genotype.cells)
        if set(cells) != set(self.cells):
            raise UserError(f"space '{self.name}' has cells {', '.join(self.cells)}; got {', '.join(cells)}")
        for kind, cell in self.cells.items():
            self._check_edges(cell, cells[kind])
            self._check_choices(cell, cells[kind])
        return genotype

    def _check_edges(self, cell: Cell, choices: tuple[Choice, ...]) -> None:
        groups = cell.groups()
        there = {_place(edge) for edge in cell.edges}
        found = [_place(choice) for choice in choices]
        kept = Counter((target, branch) for target, branch, _ in found)
        wanted = {_place(cell.edges[group[0]])[:2]: cell.kept(group) for group in groups}
        if not set(found) <= there or len(set(found)) != len(found) or kept != wanted:
            edges = " ".join(map(str, cell.edges))
            few = "" if cell.keep is None else f", of which each node keeps {cell.keep}"
            few = ", of which each branch of a node keeps 1" if cell.branches > 1 else few
            got = " ".join(str(Edge(c.target, c.source, (), c.branch)) for c in choices) or "none"
            raise UserError(f"space '{self.name}' has edges {edges}{few}; this architecture has {got}")

    def _check_choices(self, cell: Cell, choices: tuple[Choice, ...]) -> None:
        edges = zip(cell.edges, self.candidates(cell), strict=True)
        allowed = {_place(edge): (edge, [edge.ops[k] for k in columns]) for edge, columns in edges}
        for choice in choices:
            edge, known = allowed[_place(choice)]
            if choice.op not in known:
                raise unknown(f"operation on edge {edge} of space '{self.name}':", choice.op, known)

    def columns(self, genotype: Genotype) -> dict[str, tuple[int | None, ...]]:
        """Return per kind of cell and per edge, in the cell's order, the column of the operation; None: not kept."""
        self.check(genotype)
        columns = {}
        for kind, cell in self.cells.items():
            ops = {_place(choice): choice.op for choice in genotype[kind]}
            chosen = [(edge, ops.get(_place(edge))) for edge in cell.edges]
            columns[kind] = tuple(None if op is None else edge.ops.index(op) for edge, op in chosen)
        return columns

    def choose(self, columns: Mapping[str, Sequence[int | None]]) -> Genotype:
        """Return the genotype with the given column on each edge, None leaving it out: the inverse of `columns`."""
        return Genotype.of(
            self.name,
            {
                kind: [
                    Choice(edge.target, edge.source, edge.ops[column], edge.branch)
                    for edge, column in zip(cell.edges, columns[kind], strict=True)
                    if column is not None
                ]
                for kind, cell in self.cells.items()
            },
        )

    def derive(self, strength: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the architecture of the strongest operations; the first wins a tie.

        On every edge the strongest operation stays. In a cell that keeps k edges per node, `none` is passed over, and
        each node keeps the k edges whose operation is strongest (DARTS, section 2.4); in a cell with branches, each
        branch of a node the one. `strength[kind]` has a row per edge and a column per candidate (columns past an edge's
        candidates are ignored).
        """
        return self.choose({kind: self._strongest(cell, strength[kind]) for kind, cell in self.cells.items()})

    def _strongest(self, cell: Cell, rows: Sequence[Sequence[float]]) -> list[int | None]:
        best = [max(columns, key=row.__getitem__) for columns, row in zip(self.candidates(cell), rows, strict=True)]
        kept: set[int] = set()
        for group in cell.groups():
            kept.update(sorted(group, key=lambda e: -rows[e][best[e]])[: cell.kept(group)])
        return [column if e in kept else None for e, column in enumerate(best)]

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly."""
        return self.choose({kind: self._drawn(cell, rng) for kind, cell in self.cells.items()})

    def _drawn(self, cell: Cell, rng: random.Random) -> list[int | None]:
        columns = self.candidates(cell)
        drawn: list[int | None] = [None] * len(columns)
        for group in cell.groups():
            kept = cell.kept(group)
            for e in group if kept == len(group) and cell.keep is None else _some_edges(group, kept, columns, rng):
                drawn[e] = columns[e][rng.randrange(len(columns[e]))]
        return drawn


def _place(there: Edge | Choice) -> tuple[int, int, int]:
    """Return what tells an edge of a cell from all others."""
    return there.target, there.branch, there.source


def _some_edges(group: list[int], kept: int, columns: list[list[int]], rng: random.Random) -> tuple[int, ...]:
    """Draw the edges of a group that are kept, each choice as likely as there are architectures with it."""
    choices = list(combinations(group, kept))
    return rng.choices(choices, [prod(len(columns[e]) for e in edges) for edges in choices])[0]
