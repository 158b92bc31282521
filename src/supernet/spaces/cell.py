"""Cell: a directed acyclic graph with candidate operations on its edges, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from supernet.errors import UserError


@dataclass(frozen=True)
class Edge:
    """A connection from node `source` to node `target` and the names of its candidate operations, in alpha's order."""

    target: int
    source: int
    ops: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.target}<-{self.source}"


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph whose nodes each sum the edges into them.

    - `inputs`: the first nodes are the outputs of that many layers before, the nearest last.
    - `output`: the last node, or all nodes but the inputs side by side (`concat`), as in DARTS.
    - `keep`: how many edges into a node an architecture keeps, the operation `none` on none of them, as in DARTS; None
      keeps every edge, and `none` is an operation like any other, as in NAS-Bench-201.
    - `project`: every input first passes ReLU, convolution 1x1, batch norm to the cell's channels, or a factorised
      reduction if it has twice the resolution, as in DARTS. Without, the edges from an input take it as it is.

    In a layer with a stride, the edges from the inputs have it.
    """

    edges: tuple[Edge, ...]
    inputs: int = 1
    output: Literal["last", "concat"] = "last"
    keep: int | None = None
    project: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(sorted(self.edges, key=lambda edge: (edge.target, edge.source))))
        if self.inputs < 1 or (self.keep is not None and self.keep < 1):
            raise UserError(f"a cell has at least 1 input and keeps at least 1 edge, not {self.inputs} and {self.keep}")
        if self.output not in ("last", "concat"):
            raise UserError(f"a cell's output is 'last' or 'concat', not '{self.output}'")
        places = [(edge.target, edge.source) for edge in self.edges]
        if len(set(places)) != len(places):
            raise UserError("a cell has two edges between the same two nodes; give one edge both operations instead")
        for edge in self.edges:
            self._check_edge(edge)
        lonely = set(range(self.inputs, self.nodes)) - {edge.target for edge in self.edges}
        if not self.edges or lonely:
            raise UserError(f"a cell's node {min(lonely, default=self.inputs)} has no edge into it")

    def _check_edge(self, edge: Edge) -> None:
        if not 0 <= edge.source < edge.target:
            raise UserError(f"edge {edge} must run from a lower node to a higher one: a cell has no cycles")
        if edge.target < self.inputs:
            raise UserError(f"edge {edge} runs into an input: the cell's own nodes are {self.inputs} and above")
        if not edge.ops:
            raise UserError(f"edge {edge} has no candidate operation")
        if len(set(edge.ops)) != len(edge.ops):
            raise UserError(f"edge {edge} has the same candidate twice: {', '.join(edge.ops)}")

    @classmethod
    def dense(
        cls,
        nodes: int,
        ops: Iterable[str],
        *,
        inputs: int = 1,
        output: Literal["last", "concat"] = "last",
        keep: int | None = None,
        project: bool = False,
    ) -> Cell:
        """Build the cell in which every node has an edge from every earlier one, with the same candidates on each.

        `nodes` counts the inputs, too.
        """
        candidates = tuple(ops)
        edges = tuple(Edge(t, s, candidates) for t in range(inputs, nodes) for s in range(t))
        return cls(edges, inputs, output, keep, project)

    @property
    def nodes(self) -> int:
        """The number of nodes, the inputs included."""
        return max((edge.target for edge in self.edges), default=0) + 1

    @property
    def columns(self) -> int:
        """The largest number of candidates on an edge: the width of alpha."""
        return max(len(edge.ops) for edge in self.edges)

    @property
    def parts(self) -> int:
        """How many nodes' channels the output holds."""
        return self.nodes - self.inputs if self.output == "concat" else 1

    def by_node(self) -> list[list[int]]:
        """Return for every node that is not an input the numbers of the edges into it."""
        numbered = groupby(range(len(self.edges)), key=lambda e: self.edges[e].target)
        return [list(numbers) for _, numbers in numbered]
