"""Cell: a directed acyclic graph with candidate operations on its edges, as data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, groupby
from typing import Literal, get_args

from supernet.errors import UserError, is_whole, shown

Output = Literal["last", "concat", "unused"]


def names(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple, as a list has no hash; raises UserError for a text, which has letters, and for objects.

    `what` says, in the error, whose names they are.
    """
    if isinstance(given, str):
        raise UserError(f"{what} are names in a list, not the text '{given}'")
    row = tuple(given) if isinstance(given, Iterable) else (given,)
    for name in row:
        if not isinstance(name, str):
            raise UserError(
                f"{what} are names in a list, not of type {type(name).__name__}: a space takes what they name"
            )
    return row


def _check_whole(whose: str, **numbers: object) -> None:
    for name, number in numbers.items():
        if not is_whole(number):
            raise UserError(f"{whose}'s {name} must be a whole number, not {shown(repr(number))}")


@dataclass(frozen=True)
class Edge:
    """The edge from node `source` to node `target`, with the names of its candidate operations in alpha's order.

    `branch` distinguishes edges between the same two nodes in a cell with branches; a branch above 0 is part of the
    edge's text: 2.1<-0.
    """

    target: int
    source: int
    ops: tuple[str, ...]
    branch: int = 0

    def __post_init__(self) -> None:
        _check_whole("an edge", target=self.target, source=self.source, branch=self.branch)
        object.__setattr__(self, "ops", names("an edge's candidates", self.ops))

    def __str__(self) -> str:
        return f"{self.end}<-{self.source}"

    @property
    def end(self) -> str:
        """The target node, with the branch if it is above 0."""
        return f"{self.target}.{self.branch}" if self.branch else str(self.target)


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph in which every node sums its incoming edges.

    - `inputs`: the first nodes are the outputs of as many preceding layers, the nearest layer last.
    - `output`: `last`, the last node; `concat`, all nodes but the inputs side by side, as in DARTS; or `unused`, the
      nodes (inputs included) that no edge of the architecture reads, side by side, as in NAO. An edge with the
      operation `none` reads its source, too.
    - `keep`: the number of incoming edges per node that an architecture keeps, none of them with the operation `none`,
      as in DARTS; a pair (fewest, most) leaves the number to the architecture, as in FairDARTS, where a node may be
      bare: without edges, it is zeros. None keeps every edge, with `none` as an ordinary operation, as in
      NAS-Bench-201.
    - `project`: every input first passes ReLU, 1x1 convolution and batch norm to the cell's channels, or a factorised
      reduction if it has twice the resolution, as in DARTS. "calibrate" leaves out the projection of an input that
      has the cell's channels and resolution, as in NAO. False leaves every input as it is.

    In a layer with a stride, the edges from the inputs have the stride.

    In a cell with branches, where some edge has a branch above 0, every node sums one edge per branch, as in NAO: two
    branches per node, each from any earlier node, with `none` as an ordinary operation.
    """

    edges: tuple[Edge, ...]
    inputs: int = 1
    output: Output = "last"
    keep: int | tuple[int, int] | None = None
    project: bool | Literal["calibrate"] = False

    def __post_init__(self) -> None:
        given = list(self.edges) if isinstance(self.edges, Iterable) else [None]
        edges = [edge for edge in given if isinstance(edge, Edge)]
        if len(edges) < len(given):
            raise UserError("a cell's edges are Edges in a list: [Edge(target, source, ops), ...]")
        edges.sort(key=lambda edge: (edge.target, edge.branch, edge.source))
        object.__setattr__(self, "edges", tuple(edges))
        if isinstance(self.keep, list):
            object.__setattr__(self, "keep", tuple(self.keep))
        self._check_keep()
        self._check_options()
        places = [(edge.target, edge.branch, edge.source) for edge in self.edges]
        if len(set(places)) != len(places):
            raise UserError("a cell has two edges between the same two nodes; give one edge both operations instead")
        for edge in self.edges:
            self._check_edge(edge)
        unreached = set(range(self.inputs, self.nodes)) - {edge.target for edge in self.edges}
        if not self.edges or unreached:
            raise UserError(f"a cell's node {min(unreached, default=self.inputs)} has no edge into it")
        self._check_branches()

    def _check_keep(self) -> None:
        numbers = self.keep if isinstance(self.keep, tuple) else (self.keep, self.keep)
        if self.keep is not None and not (len(numbers) == 2 and all(isinstance(number, int) for number in numbers)):
            raise UserError(f"a cell's keep is a number or (fewest, most) edges of a node, not {self.keep!r}")

    def _check_options(self) -> None:
        _check_whole("a cell", inputs=self.inputs)
        fewest, most = self._bounds or (0, 1)
        if self.inputs < 1 or most < 1:
            raise UserError(f"a cell has at least 1 input and keeps at least 1 edge, not {self.inputs} and {self.keep}")
        if not 0 <= fewest <= most:
            raise UserError(f"a cell's keep is a number or (fewest, most) edges of a node, not {self.keep}")
        if not fewest and self._bounds and self.output != "concat":
            raise UserError(f"a cell with keep={self.keep} may have bare nodes: its output has to be 'concat'")
        if self.output not in get_args(Output):
            raise UserError(f"a cell's output is 'last', 'concat' or 'unused', not '{self.output}'")
        if self.project not in (True, False, "calibrate"):
            raise UserError(f"a cell's project is True, False or 'calibrate', not '{self.project}'")
        if self.output == "unused" and not self.project:
            need = "project='calibrate' or True: its inputs can be part of the output"
            raise UserError(f"a cell whose output is 'unused' needs {need}")

    def _check_branches(self) -> None:
        if self.branches > 1 and self.keep is not None:
            raise UserError(f"a cell with branches keeps one edge of each: leave out keep={self.keep}")
        for node, edges in groupby(self.edges, key=lambda edge: edge.target):
            branches = sorted({edge.branch for edge in edges})
            if branches != list(range(len(branches))):
                numbers = ", ".join(map(str, branches))
                raise UserError(f"a cell's node {node} has branches {numbers}; they are numbered from 0 without a gap")

    def _check_edge(self, edge: Edge) -> None:
        if not 0 <= edge.source < edge.target:
            raise UserError(f"edge {edge} must run from a lower node to a higher one: a cell has no cycles")
        if edge.target < self.inputs:
            raise UserError(f"edge {edge} runs into an input: the cell's own nodes are {self.inputs} and above")
        if edge.branch < 0:
            raise UserError(f"edge {edge} needs a branch that is 0 or above")
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
        output: Output = "last",
        keep: int | tuple[int, int] | None = None,
        project: bool | Literal["calibrate"] = False,
        branches: int = 1,
    ) -> Cell:
        """Build the cell in which every node has an edge from every earlier node, all with the candidates `ops`.

        `nodes` includes the inputs; with several `branches` a node has these edges in each branch.
        """
        candidates = names("an edge's candidates", ops)
        _check_whole("a cell", nodes=nodes, inputs=inputs, branches=branches)
        if nodes <= inputs:
            raise UserError(f"a cell's nodes include its inputs: with {inputs} give at least {inputs + 1}, not {nodes}")
        if branches < 1:
            raise UserError(f"a cell has at least 1 branch, not {branches}")
        edges = (Edge(t, s, candidates, b) for t in range(inputs, nodes) for s in range(t) for b in range(branches))
        return cls(tuple(edges), inputs, output, keep, project)

    @property
    def nodes(self) -> int:
        """The number of nodes, the inputs included."""
        return max((edge.target for edge in self.edges), default=0) + 1

    @property
    def columns(self) -> int:
        """The largest number of candidates on an edge: the width of alpha."""
        return max(len(edge.ops) for edge in self.edges)

    @property
    def branches(self) -> int:
        """The largest number of branches of a node; 1 in a cell without branches."""
        return max((edge.branch for edge in self.edges), default=0) + 1

    @property
    def is_chain(self) -> bool:
        """Whether the edges are a chain from the only input to the output, or there is only one edge."""
        steps = [(edge.target, edge.source) for edge in self.edges] == [(n + 1, n) for n in range(len(self.edges))]
        return len(self.edges) == 1 or (steps and self.inputs == 1 and self.output == "last" and self.keep is None)

    def ends(self, read: Collection[int]) -> tuple[int, ...]:
        """Return the nodes that make up the output, side by side, where active edges read the nodes `read`."""
        if self.output == "last":
            return (self.nodes - 1,)
        if self.output == "concat":
            return tuple(range(self.inputs, self.nodes))
        return tuple(node for node in range(self.nodes) if node not in read)

    def groups(self) -> list[list[int]]:
        """Return the indices of the incoming edges of every node but the inputs, one list per branch."""
        numbered = groupby(range(len(self.edges)), key=lambda e: (self.edges[e].target, self.edges[e].branch))
        return [list(numbers) for _, numbers in numbered]

    @property
    def _bounds(self) -> tuple[int, int] | None:
        return (self.keep, self.keep) if isinstance(self.keep, int) else self.keep

    @property
    def may_be_bare(self) -> bool:
        """Whether an architecture may leave a node without edges."""
        return self._bounds is not None and not self._bounds[0]

    @property
    def varies(self) -> bool:
        """Whether architectures may keep different numbers of edges of a node."""
        return any(self.fewest(group) < self.kept(group) for group in self.groups())

    def kept(self, group: Sequence[int]) -> int:
        """Return the number of edges of a group that an architecture keeps: the largest, if it may differ."""
        if self.branches > 1:
            return 1
        return len(group) if self._bounds is None else min(self._bounds[1], len(group))

    def fewest(self, group: Sequence[int]) -> int:
        """Return the smallest number of edges of a group that an architecture keeps."""
        return min(self._bounds[0], self.kept(group)) if self._bounds else self.kept(group)

    def ways(self, group: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Return the sets of edges of a group that an architecture may keep."""
        return chain.from_iterable(combinations(group, n) for n in range(self.fewest(group), self.kept(group) + 1))

    def bare(self, targets: Collection[int]) -> tuple[int, ...]:
        """Return the nodes without edges where edges run into the nodes `targets`; none where no node may be bare."""
        return tuple(n for n in range(self.inputs, self.nodes) if n not in targets) if self.may_be_bare else ()
