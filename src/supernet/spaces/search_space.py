"""SearchSpace: the kinds of cell that are searched and the skeleton that they are stacked in, as data."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import Any

from supernet.errors import UserError, is_whole, shown, unknown
from supernet.spaces import columns as cell_columns
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.dialects import choices, form_of
from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.layout import lay_out
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.spaces.shapes import CellAt, Layer, PlacedLayer, last
from supernet.spaces.size import NetworkSize
from supernet.spaces.skeleton import Chain, Position, Skeleton

_NAME, _KIND = re.compile(r"[^|~+\s]+"), re.compile(r"[^:+\s][^:\s]*")  # names that the text of a genotype can hold


@dataclass(frozen=True)
class SearchSpace:
    """A named set of architectures.

    - `cells`: the kinds of cell; each is searched once and repeated in the skeleton.
    - `primitives`: operations of your own, in addition to the built-in ones, under the names that edges use.
    - `table`: the name of the table with this space's accuracies, if there is one.
    - `norm_pools`: supernets have a batch norm behind every pooling operation, as in DARTS; standalone networks do not.
    - `target`: width and depth of the networks that the space is meant for.
    - `sliced`: in supernets, the inverted residual blocks of an edge are slices of one block, as in `mobile`.

    Raises UserError for a missing cell or operation, an unused cell, an unusable name, and layers that do not fit each
    other.
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
    sliced: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        for primitive in self.primitives:
            if primitive.name in PRIMITIVES:
                raise UserError(f"operation '{primitive.name}' is built in; give your own another name")
        if len(self._primitives) < len(PRIMITIVES) + len(self.primitives):
            names = Counter(primitive.name for primitive in self.primitives)
            raise UserError(f"space '{self.name}' has two operations '{names.most_common(1)[0][0]}' of your own")
        for kind, cell in self.cells.items():
            if not _KIND.fullmatch(kind):
                raise UserError(f"cell '{kind}' needs a name without spaces and :, and without + in front")
            self._check_ops(cell)
        width, depth = self.target
        layers = [placed.layer for placed in self.layout(NetworkSize(width, depth))]
        used = {layer.kind for layer in layers if isinstance(layer, CellAt)}
        self._check_widths(layers)
        for kind in self.cells:
            if kind not in used:
                raise UserError(f"cell '{kind}' is nowhere in the skeleton, which has {', '.join(sorted(used))}")

    def _check_widths(self, layers: Sequence[Layer]) -> None:
        """Raise UserError where a cell would get as many channels as the architecture of another one decides."""
        for number, layer in enumerate(layers):
            if isinstance(layer, CellAt) and not self.cells[layer.kind].project:
                for before in last(layers[:number], self.cells[layer.kind].inputs):
                    if isinstance(before, CellAt) and self.cells[before.kind].output == "unused":
                        raise UserError(
                            f"cell '{layer.kind}' needs project: it reads the output 'unused' of cell '{before.kind}', "
                            "whose channels depend on the architecture"
                        )

    def _check_types(self) -> None:
        cells, row, target = self.cells, self.primitives, self.target
        named = isinstance(cells, Mapping) and all(isinstance(name, str) for name in cells)
        planned = callable(getattr(self.skeleton, "plan", None)) and not isinstance(self.skeleton, type)
        pair = isinstance(target, tuple | list) and len(target) == 2 and all(map(is_whole, target))
        fits = {
            "name is a text": isinstance(self.name, str),
            "cells are Cells by name: {'cell': Cell.dense(4, ops)}": named and _are(Cell, cells.values()),
            "skeleton is an object with the method plan, as Stages(['cell'])": planned,
            "primitives are Primitives in a list, a single one, too: [own]": _are(Primitive, row),
            "target is a pair of whole numbers: (width, depth)": pair,
        }
        for wanted, right in fits.items():
            if not right:
                raise UserError(f"a space's {wanted}")

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
        *,
        sliced: bool = False,
    ) -> SearchSpace:
        """Build a macro space: a chain of positions, each given as (candidate operations, channels, stride).

        Channels, also those of `stem`, are in multiples of the width. The positions are named 01, 02, ...
        """
        if not isinstance(blocks, Iterable):
            raise UserError(f"the blocks of a chain are a list, not of type {type(blocks).__name__}")
        named = {f"{number:02}": block for number, block in enumerate(blocks, 1)}
        for kind, block in named.items():
            if not (isinstance(block, Sequence) and len(block) == 3):
                raise UserError(f"block {kind} of a chain is (candidate operations, channels, stride)")
        cells = {kind: Cell.dense(2, ops) for kind, (ops, _, _) in named.items()}
        positions = tuple(Position(kind, channels, stride) for kind, (_, channels, stride) in named.items())
        return cls(name, cells, Chain(positions, stem), primitives, sliced=sliced)

    @cached_property
    def _primitives(self) -> dict[str, Primitive]:
        return PRIMITIVES | {primitive.name: primitive for primitive in self.primitives}

    def primitive(self, name: str) -> Primitive:
        """Return the primitive called `name`; raises UserError if there is none."""
        if name not in self._primitives:
            error = unknown("operation", name, self._primitives)
            raise UserError(f"{error}; your own are given by primitives=")
        return self._primitives[name]

    def layout(self, network_size: NetworkSize, genotype: Genotype | None = None) -> tuple[PlacedLayer, ...]:
        """Return every layer of a network of this size with its input and output shapes.

        Without `genotype` the network is the supernet; the standalone network of `genotype` differs from it where the
        output of cells is `unused`. Raises UserError for an impossible size and for layers that do not fit each other.
        """
        multiples = {kind: self._output_multiple(kind, cell, genotype) for kind, cell in self.cells.items()}
        return lay_out(self.name, self.cells, self.skeleton, network_size, multiples)

    def _output_multiple(self, kind: str, cell: Cell, genotype: Genotype | None) -> int:
        """Return the number of output channels of a cell in multiples of its nodes' channels."""
        if cell.output != "unused":
            return len(cell.ends(()))
        return 1 if genotype is None else len(cell.ends({choice.source for choice in genotype[kind]}))

    @property
    def has_additive_cost(self) -> bool:
        """Whether the cost of an architecture is a sum over its edges; not so where cells have the output `unused`."""
        return all(cell.output != "unused" for cell in self.cells.values())

    def check_additive_cost(self, refused: str) -> None:
        """Raise UserError if the cost of an architecture is no sum over its edges; the space then is as `refused`."""
        if not self.has_additive_cost:
            raise UserError(
                f"space '{self.name}' {refused}: the output of its cells, and so the cost, depends on which nodes an "
                "architecture reads; search without, or in another space"
            )

    def fingerprint(self, network_size: NetworkSize) -> str:
        """Return 16 hex digits that tell this space at this network size from others of the same name."""
        sliced = ("sliced",) if self.sliced else ()
        text = repr((sorted(self.cells.items()), self.norm_pools, self.layout(network_size), *sliced))
        return sha256(text.encode()).hexdigest()[:16]

    def candidates(self, cell: Cell) -> list[list[int]]:
        """Return per edge the columns that an architecture may choose: all, without `none` where `keep` is set."""
        return [
            [k for k, op in enumerate(edge.ops) if cell.keep is None or not self.primitive(op).zero]
            for edge in cell.edges
        ]

    @property
    def main_kinds(self) -> list[str]:
        """The kinds of cell in which skip connections are counted: the normal cell, or all where none is so called."""
        return ["normal"] if "normal" in self.cells else list(self.cells)

    @property
    def size(self) -> int:
        """The number of architectures."""
        return prod(cell_columns.count(cell, self.candidates(cell)) for cell in self.cells.values())

    def parse(self, text: str) -> Genotype:
        """Read an architecture: `|op~source|+...`, DARTS' `Genotype(normal=[...], ...)`, an index of the table, ...

        See `supernet.spaces.dialects` for all forms. Raises UserError if the text is no architecture of this space.
        """
        if not isinstance(text, str):
            raise UserError(f"the text of an architecture is a str, not of type {type(text).__name__}")
        if self.table is not None and form_of(text) == "index":
            from supernet.spaces import tables  # imported here, since NumPy is slow to import

            index = int(text.split()[0].lstrip("0")[:9] or 0)  # no table has an index of more digits
            return self.check(replace(tables.load(self.table).genotype(index), space=self.name))
        return self.check(self._genotype(choices(text, self.cells)))

    def check(self, genotype: Genotype) -> Genotype:
        """Return `genotype` if it is an architecture of this space; otherwise raises UserError with the mismatch."""
        if not isinstance(genotype, Genotype):
            raise UserError(f"an architecture is a Genotype, not of type {type(genotype).__name__}")
        cells, bare_nodes = dict(genotype.cells), dict(genotype.bare)
        for kinds in (cells, cells | bare_nodes):  # bare nodes alone are no cell
            if set(kinds) != set(self.cells):
                raise UserError(f"space '{self.name}' has cells {', '.join(self.cells)}; got {', '.join(kinds)}")
        for kind, cell in self.cells.items():
            self._check_edges(cell, cells[kind])
            self._check_choices(cell, cells[kind])
            bare = cell.bare({choice.target for choice in cells[kind]})
            if bare_nodes.get(kind, ()) != bare:
                raise UserError(
                    f"nodes {list(bare)} of cell '{kind}' have no edge: give bare={{{kind!r}: {list(bare)}}}"
                )
        return genotype

    def _genotype(self, cells: Mapping[str, Sequence[tuple[int, int, str, int]]]) -> Genotype:
        """Return the genotype with these choices of each kind, and with the nodes that none runs into."""
        known = ((kind, cell) for kind, cell in self.cells.items() if kind in cells)
        bare = {kind: cell.bare({target for target, *_ in cells[kind]}) for kind, cell in known}
        return Genotype.of(self.name, cells, bare)

    def _check_edges(self, cell: Cell, choices: tuple[Choice, ...]) -> None:
        keys = [_key(choice) for choice in choices]
        kept = Counter(key[:2] for key in keys)
        groups = [(_key(cell.edges[group[0]])[:2], group) for group in cell.groups()]
        fits = all(cell.fewest(group) <= kept[end] <= cell.kept(group) for end, group in groups)
        if fits and set(keys) <= {_key(edge) for edge in cell.edges} and len(set(keys)) == len(keys):
            return
        edges = " ".join(map(str, cell.edges))
        number = "{} to {}".format(*cell.keep) if isinstance(cell.keep, tuple) else cell.keep
        few = "" if cell.keep is None else f", of which each node keeps {number}"
        few = ", of which each branch of a node keeps 1" if cell.branches > 1 else few
        got = " ".join(str(Edge(c.target, c.source, (), c.branch)) for c in choices) or "none"
        raise UserError(f"space '{self.name}' has edges {edges}{few}; this architecture has {got}")

    def _check_choices(self, cell: Cell, choices: tuple[Choice, ...]) -> None:
        edges = zip(cell.edges, self.candidates(cell), strict=True)
        allowed = {_key(edge): (edge, [edge.ops[k] for k in columns]) for edge, columns in edges}
        for choice in choices:
            edge, ops = allowed[_key(choice)]
            if choice.op not in ops:
                raise unknown(f"operation on edge {edge} of space '{self.name}':", choice.op, ops)

    def columns(self, genotype: Genotype) -> dict[str, tuple[int | None, ...]]:
        """Return per kind of cell and per edge the column of the architecture's operation, None without one.

        Raises UserError if `genotype` is no architecture of this space.
        """
        self.check(genotype)
        columns = {}
        for kind, cell in self.cells.items():
            ops = {_key(choice): choice.op for choice in genotype[kind]}
            chosen = [(edge, ops.get(_key(edge))) for edge in cell.edges]
            columns[kind] = tuple(None if op is None else edge.ops.index(op) for edge, op in chosen)
        return columns

    def choose(self, columns: Mapping[str, Sequence[int | None]]) -> Genotype:
        """Return the genotype with the given column on each edge, None for no edge: the inverse of `columns`."""
        return self._genotype(
            {
                kind: [
                    Choice(edge.target, edge.source, edge.ops[column], edge.branch)
                    for edge, column in zip(cell.edges, columns[kind], strict=True)
                    if column is not None
                ]
                for kind, cell in self.cells.items()
            }
        )

    def derive(self, op_scores: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the architecture with the best op scores; the first operation or edge wins a tie.

        Every edge keeps its best operation. In a cell that keeps k edges per node, `none` is excluded, and each node
        keeps the k edges with the best operations (DARTS, section 2.4); of edges that a node need not keep, those with
        a score above 0. In a cell with branches, each branch of a node keeps one edge. `op_scores[kind]` has
        one row per edge and one column per candidate; columns beyond an edge's candidates are ignored.
        """
        cells = self.cells.items()
        return self.choose({k: cell_columns.strongest(c, self.candidates(c), op_scores[k]) for k, c in cells})

    def narrowed(self, columns: Mapping[str, Sequence[Sequence[int]]]) -> SearchSpace:
        """Return the space with fewer candidates: on each edge of a kind, those with the given columns, in this order.

        Its architectures are architectures of this space. Raises UserError if an edge is left without a candidate.
        """
        cells = {}
        for kind, cell in self.cells.items():
            edges = zip(cell.edges, columns[kind], strict=True)
            kept = tuple(replace(edge, ops=tuple(edge.ops[k] for k in some)) for edge, some in edges)
            cells[kind] = replace(cell, edges=kept)
        return replace(self, cells=cells)

    def widened(
        self, op_scores: Mapping[str, list[list[float]]], narrower: SearchSpace
    ) -> dict[str, list[list[float]]]:
        """Return op scores of a narrower space in the columns of this one, 0 for candidates that it does not have."""
        if narrower == self:
            return dict(op_scores)
        scores = {}
        for kind, cell in self.cells.items():
            edges = narrower.cells[kind].edges
            known = [dict(zip(edge.ops, row, strict=False)) for edge, row in zip(edges, op_scores[kind], strict=True)]
            padded = [(*edge.ops, *[""] * (cell.columns - len(edge.ops))) for edge in cell.edges]
            scores[kind] = [[row.get(op, 0.0) for op in ops] for row, ops in zip(known, padded, strict=True)]
        return scores

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly; raises UserError unless `rng` is a `random.Random`."""
        if not isinstance(rng, random.Random):
            raise UserError(f"an architecture is drawn by random.Random(seed), not by {shown(repr(rng))}")
        return self.choose({k: cell_columns.draw(c, self.candidates(c), rng) for k, c in self.cells.items()})


def _are(kind: type[Any], row: object) -> bool:
    return isinstance(row, Collection) and all(isinstance(value, kind) for value in row)


def _key(edge: Edge | Choice) -> tuple[int, int, int]:
    """Return what identifies an edge within its cell."""
    return edge.target, edge.branch, edge.source
