"""SearchSpace: what can be searched, as data — cells of nodes and edges, and the skeleton they are stacked in."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import combinations
from math import prod

from supernet.errors import UserError, at_least, unknown
from supernet.genotype import Choice, Genotype, is_darts, parse_cells, parse_darts
from supernet.primitives import PRIMITIVES, Primitive
from supernet.spaces.cell import Cell
from supernet.spaces.frame import CellAt, Frame, HeadAt, Layer, Place, Placed, StemAt, last
from supernet.spaces.skeletons import Chain, Position, Skeleton

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
        used = {p.layer.kind for p in self.layout(Frame(width, depth)) if isinstance(p.layer, CellAt)}
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

    def layout(self, frame: Frame) -> tuple[Placed, ...]:
        """Lay the skeleton out for `frame`: every layer with the shapes it reads and gives.

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
        for layer in self.skeleton.plan(frame.width, frame.depth, frame.halvings):
            if not outputs and isinstance(layer, CellAt):
                raise UserError(f"the skeleton of space '{self.name}' begins with a cell; it needs a stem before it")
            inputs = self._inputs(layer, outputs) if outputs else (Place(frame.channels, *frame.size),)
            fitted = _fitted(layer, inputs[-1], frame, reduced)
            reduced += getattr(fitted, "stride", 1) == 2
            placed.append(Placed(fitted, inputs, self._output(fitted, inputs, frame)))
            outputs.append(placed[-1].output)
        if frame.reductions is not None and reduced < frame.reductions:
            raise UserError(f"space '{self.name}' has {reduced} reductions, not {frame.reductions}")
        return tuple(placed)

    def _inputs(self, layer: Layer, outputs: Sequence[Place]) -> tuple[Place, ...]:
        if not isinstance(layer, CellAt):
            return last(outputs, 1)
        if layer.kind not in self.cells:
            raise unknown("kind of cell", layer.kind, self.cells)
        cell = self.cells[layer.kind]
        inputs = last(outputs, cell.inputs)
        for number, place in enumerate(inputs):
            _check_input(layer.kind, cell, number, place, inputs[-1])
        return inputs

    def _output(self, layer: Layer, inputs: tuple[Place, ...], frame: Frame) -> Place:
        match layer:
            case StemAt(channels, halvings):
                return inputs[-1].at(channels, 1 << halvings)
            case CellAt(kind, channels, stride):
                return inputs[-1].at(channels * self.cells[kind].parts, stride)
            case HeadAt():
                return Place(frame.classes, 1, 1)
        return inputs[-1].at(layer.channels, layer.stride)

    def fingerprint(self, frame: Frame) -> str:
        """Return 16 hex digits that tell this space in this frame from another of the same name."""
        shape = repr((sorted(self.cells.items()), self.norm_pools, self.layout(frame)))
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
        kept = ((node, len(node) if cell.keep is None else min(cell.keep, len(node))) for node in cell.by_node())
        return prod(sum(prod(counts[e] for e in some) for some in combinations(node, keep)) for node, keep in kept)

    def parse(self, text: str) -> Genotype:
        """Read an architecture: `|op~source|+...`, or the `Genotype(normal=[...], ...)` of DARTS for such cells.

        Raises UserError if it is not one of this space.
        """
        if is_darts(text):
            return self.check(Genotype.of(self.name, parse_darts(text)))
        inputs = {kind: cell.inputs for kind, cell in sorted(self.cells.items())}
        return self.check(Genotype.of(self.name, parse_cells(text, inputs)))

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
        there = {(edge.target, edge.source) for edge in cell.edges}
        found = [(choice.target, choice.source) for choice in choices]
        per_node = {node: sum(target == node for target, _ in found) for node in range(cell.inputs, cell.nodes)}
        wanted = {cell.edges[node[0]].target: min(cell.keep or len(node), len(node)) for node in cell.by_node()}
        if not set(found) <= there or len(set(found)) != len(found) or per_node != wanted:
            edges = " ".join(map(str, cell.edges))
            kept = "" if cell.keep is None else f", of which each node keeps {cell.keep}"
            got = " ".join(f"{target}<-{source}" for target, source in found) or "none"
            raise UserError(f"space '{self.name}' has edges {edges}{kept}; this architecture has {got}")

    def _check_choices(self, cell: Cell, choices: tuple[Choice, ...]) -> None:
        edges = zip(cell.edges, self.candidates(cell), strict=True)
        allowed = {(edge.target, edge.source): [edge.ops[k] for k in columns] for edge, columns in edges}
        for target, source, op in choices:
            known = allowed[target, source]
            if op not in known:
                raise unknown(f"operation on edge {target}<-{source} of space '{self.name}':", op, known)

    def columns(self, genotype: Genotype) -> dict[str, tuple[int | None, ...]]:
        """Return per kind of cell and per edge, in the cell's order, the column of the operation; None: not kept."""
        self.check(genotype)
        columns = {}
        for kind, cell in self.cells.items():
            ops = {(choice.target, choice.source): choice.op for choice in genotype[kind]}
            chosen = [(edge, ops.get((edge.target, edge.source))) for edge in cell.edges]
            columns[kind] = tuple(None if op is None else edge.ops.index(op) for edge, op in chosen)
        return columns

    def choose(self, columns: Mapping[str, Sequence[int | None]]) -> Genotype:
        """Return the genotype with the given column on each edge, None leaving it out: the inverse of `columns`."""
        return Genotype.of(
            self.name,
            {
                kind: [
                    Choice(edge.target, edge.source, edge.ops[column])
                    for edge, column in zip(cell.edges, columns[kind], strict=True)
                    if column is not None
                ]
                for kind, cell in self.cells.items()
            },
        )

    def derive(self, strength: Mapping[str, Sequence[Sequence[float]]]) -> Genotype:
        """Return the architecture of the strongest operations; the first wins a tie.

        On every edge the strongest operation stays. In a cell that keeps k edges per node, `none` is passed over, and
        each node keeps the k edges whose operation is strongest (DARTS, section 2.4). `strength[kind]` has a row per
        edge and a column per candidate (columns past an edge's candidates are ignored).
        """
        return self.choose({kind: self._strongest(cell, strength[kind]) for kind, cell in self.cells.items()})

    def _strongest(self, cell: Cell, rows: Sequence[Sequence[float]]) -> list[int | None]:
        best = [max(columns, key=row.__getitem__) for columns, row in zip(self.candidates(cell), rows, strict=True)]
        kept: set[int] = set()
        for node in cell.by_node():
            kept.update(sorted(node, key=lambda e: -rows[e][best[e]])[: cell.keep])
        return [column if e in kept else None for e, column in enumerate(best)]

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly."""
        return self.choose({kind: self._drawn(cell, rng) for kind, cell in self.cells.items()})

    def _drawn(self, cell: Cell, rng: random.Random) -> list[int | None]:
        columns = self.candidates(cell)
        drawn: list[int | None] = [None] * len(columns)
        for node in cell.by_node():
            for e in node if cell.keep is None else _some_edges(node, cell.keep, columns, rng):
                drawn[e] = columns[e][rng.randrange(len(columns[e]))]
        return drawn


def _some_edges(node: list[int], keep: int, columns: list[list[int]], rng: random.Random) -> tuple[int, ...]:
    """Draw the edges that a node keeps, each choice as likely as there are architectures with it."""
    choices = list(combinations(node, min(keep, len(node))))
    return rng.choices(choices, [prod(len(columns[e]) for e in edges) for edges in choices])[0]


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
