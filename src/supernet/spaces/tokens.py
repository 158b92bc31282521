"""Sequences: the architectures of a space as sequences of tokens, and back.

NAO (Luo et al., NeurIPS 2018, arXiv 1808.07233) writes an architecture as one pair of tokens, input and operation, for
every edge that is kept: the kinds of cell in the space's order, their nodes in order. Token 0 begins and ends a
sequence, token p + 1 is input p, and then come the operations of all edges, in the order in which they first appear.
The inputs of a node are

- where every edge is kept: all of them, ascending;
- where k of more are kept: k different ones, in any order, as it means nothing;
- in a cell with branches: one for each branch in turn, the same twice if need be. Where the branches have the same
  candidates, their order means nothing to the function either.

Difference from the released code: what is new is told by `canonical`, in which the pairs of a node are sorted where
their order means nothing. There, a known architecture with the two pairs of a node swapped counts as a new one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from supernet.errors import UserError
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """Where a pair of tokens stands, and what it may be."""

    kind: str
    node: int
    first: int  # number of the first of the slots that must all have different inputs; its own for one alone
    edges: Mapping[int, int]  # token of an input to the number of its edge in the cell
    ops: Mapping[int, Tokens]  # token of an input to the tokens of the operations it may have


class Sequences:
    """The sequences of tokens that are architectures of `space`; `slots` has one entry per pair of tokens."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        cells = space.cells.values()
        self.inputs = 1 + max(edge.source for cell in cells for edge in cell.edges)
        ops = dict.fromkeys(op for cell in cells for edge in cell.edges for op in edge.ops)
        self.ops = {op: token for token, op in enumerate(ops, 1 + self.inputs)}  # name to token
        self.slots: tuple[Slot, ...] = ()
        for kind, cell in space.cells.items():
            self.slots += tuple(self._slots(kind, cell, len(self.slots)))
        self._free = self._interchangeable()

    @property
    def vocabulary(self) -> int:
        """The number of tokens, the one that begins and ends a sequence included."""
        return 1 + self.inputs + len(self.ops)

    @property
    def length(self) -> int:
        """How many tokens an architecture has."""
        return 2 * len(self.slots)

    def _slots(self, kind: str, cell: Cell, number: int) -> list[Slot]:
        candidates, slots = self.space.candidates(cell), list[Slot]()
        for group in cell.groups():
            kept, first = cell.kept(group), number + len(slots)
            for place in range(kept):
                edges = group if kept < len(group) else [group[place]]
                numbers = {1 + cell.edges[e].source: e for e in edges}
                ops = {
                    source: tuple(self.ops[cell.edges[e].ops[column]] for column in candidates[e])
                    for source, e in numbers.items()
                }
                slots.append(Slot(kind, cell.edges[group[0]].target, first, numbers, ops))
        return slots

    def nodes(self) -> list[list[int]]:
        """Return the numbers of the slots of every node."""
        numbered = groupby(range(len(self.slots)), key=lambda n: (self.slots[n].kind, self.slots[n].node))
        return [list(numbers) for _, numbers in numbered]

    def _interchangeable(self) -> dict[str, list[list[int]]]:
        """Return per kind of cell the slots of the nodes whose pairs may stand in any order."""
        free: dict[str, list[list[int]]] = {kind: [] for kind in self.space.cells}
        for node in self.nodes():
            slots = [self.slots[number] for number in node]
            if len(slots) > 1 and all(slot.ops == slots[0].ops for slot in slots):
                free[slots[0].kind].append(node)
        return {kind: nodes for kind, nodes in free.items() if nodes}

    @property
    def symmetric(self) -> bool:
        """Whether some node's pairs may stand in more than one order."""
        return bool(self._free)

    def encode(self, genotype: Genotype) -> Tokens:
        """Return the tokens of an architecture; raises UserError if it is not one of the space."""
        columns, tokens = self.space.columns(genotype), list[int]()
        for number, slot in enumerate(self.slots):
            cell, row = self.space.cells[slot.kind], columns[slot.kind]
            kept = [(source, e, column) for source, e in slot.edges.items() if (column := row[e]) is not None]
            source, e, column = kept[number - slot.first if len(slot.edges) > 1 else 0]
            tokens += [source, self.ops[cell.edges[e].ops[column]]]
        return tuple(tokens)

    def decode(self, tokens: Sequence[int]) -> Genotype:
        """Return the architecture that the tokens are: the inverse of `encode`. Raises UserError if they are none."""
        self.check(tokens)
        columns: dict[str, list[int | None]] = {k: [None] * len(cell.edges) for k, cell in self.space.cells.items()}
        names = {token: op for op, token in self.ops.items()}
        for slot, source, op in zip(self.slots, tokens[::2], tokens[1::2], strict=True):
            e = slot.edges[source]
            columns[slot.kind][e] = self.space.cells[slot.kind].edges[e].ops.index(names[op])
        return self.space.choose(columns)

    def check(self, tokens: Sequence[int]) -> None:
        """Raise UserError, saying what is wrong, if the tokens are no architecture."""
        if len(tokens) != self.length:
            raise UserError(f"an architecture of space '{self.space.name}' has {self.length} tokens, not {len(tokens)}")
        for place, token in enumerate(tokens):
            allowed = self.allowed(tokens[:place])
            if token not in allowed:
                some = ", ".join(map(str, allowed))
                raise UserError(
                    f"token {place} of an architecture of '{self.space.name}' is {token}, not one of {some}"
                )

    def allowed(self, prefix: Sequence[int]) -> Tokens:
        """Return the tokens that may come next, so that the whole stays valid, after a prefix that is itself allowed.

        Nothing may follow a whole architecture.
        """
        number, second = divmod(len(prefix), 2)
        if number == len(self.slots):
            return ()
        slot = self.slots[number]
        if second:
            return slot.ops[prefix[-1]]
        used = prefix[2 * slot.first :: 2]
        return tuple(source for source in slot.edges if source not in used)

    def canonical(self, tokens: Sequence[int]) -> Tokens:
        """Return the tokens with the pairs of every node sorted whose order means nothing."""
        pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
        for nodes in self._free.values():
            for node in nodes:
                pairs[node[0] : node[-1] + 1] = sorted(pairs[node[0] : node[-1] + 1])
        return tuple(token for pair in pairs for token in pair)

    def rewritten(self, tokens: Sequence[int], rng: random.Random) -> Tokens:
        """Return other tokens of the same function: in every kind of cell two pairs of one random node are swapped.

        The node is drawn among those where the order of the pairs means nothing; a cell without any is unchanged.
        """
        pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
        for nodes in self._free.values():
            one, other = rng.sample(rng.choice(nodes), 2)
            pairs[one], pairs[other] = pairs[other], pairs[one]
        return tuple(token for pair in pairs for token in pair)
