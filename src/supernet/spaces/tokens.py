"""Sequences: encoding the architectures of a space as sequences of tokens, and decoding them.

As in NAO (Luo et al., NeurIPS 2018, arXiv 1808.07233), an architecture is one pair of tokens, source and operation, per
edge that it keeps: kind by kind in the space's order, node by node. Token 0 begins and ends a sequence, token p + 1 is
source node p, and the remaining tokens are the operations of all edges, in the order of their first appearance. The
sources of a node are

- every one, ascending, where every edge is kept;
- k different ones in any order, where k of more edges are kept;
- one per branch in a cell with branches; branches may share a source. Branches with the same candidates are
  interchangeable.

Difference from the released code: an architecture counts as new if its `canonical` form, in which interchangeable pairs
of a node are sorted, is new. In the released code a known architecture with the two pairs of a node swapped is new.
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
    """The position of one pair of tokens in a sequence, with the tokens allowed there."""

    kind: str
    node: int
    first: int  # index of the first slot among those that must all have different sources; its own if it is alone
    edges: Mapping[int, int]  # token of a source to the index of its edge in the cell
    ops: Mapping[int, Tokens]  # token of a source to the tokens of the operations on its edge


class Sequences:
    """The encoding of the architectures of `space`; `slots` has one entry per pair of tokens."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        if any(cell.varies for cell in space.cells.values()):
            raise UserError(
                f"architectures of space '{space.name}' are not sequences of one length, as its nodes keep more or "
                "fewer edges: take another space, or a method without a controller"
            )
        cells = space.cells.values()
        self.inputs = 1 + max(edge.source for cell in cells for edge in cell.edges)
        ops = dict.fromkeys(op for cell in cells for edge in cell.edges for op in edge.ops)
        self.ops = {op: token for token, op in enumerate(ops, 1 + self.inputs)}  # name to token
        self.slots: tuple[Slot, ...] = ()
        for kind, cell in space.cells.items():
            self.slots += tuple(self._slots(kind, cell, len(self.slots)))
        self.vocabulary = 1 + self.inputs + len(self.ops)  # number of different tokens, including token 0
        self.length = 2 * len(self.slots)  # tokens of an architecture
        self._interchangeable = self._find_interchangeable()
        self.symmetric = bool(self._interchangeable)  # whether the pairs of some node may be in more than one order

    def _slots(self, kind: str, cell: Cell, start: int) -> list[Slot]:
        candidates, slots = self.space.candidates(cell), list[Slot]()
        for group in cell.groups():
            kept, first = cell.kept(group), start + len(slots)
            for number in range(kept):
                edges = {1 + cell.edges[e].source: e for e in (group if kept < len(group) else [group[number]])}
                ops = {
                    source: tuple(self.ops[cell.edges[e].ops[column]] for column in candidates[e])
                    for source, e in edges.items()
                }
                slots.append(Slot(kind, cell.edges[group[0]].target, first, edges, ops))
        return slots

    def nodes(self) -> list[list[int]]:
        """Return the indices of the slots of every node."""
        numbered = groupby(range(len(self.slots)), key=lambda n: (self.slots[n].kind, self.slots[n].node))
        return [list(numbers) for _, numbers in numbered]

    def _find_interchangeable(self) -> dict[str, list[list[int]]]:
        """Return per kind of cell the slots of the nodes whose pairs may be in any order."""
        nodes: dict[str, list[list[int]]] = {kind: [] for kind in self.space.cells}
        for node in self.nodes():
            slots = [self.slots[number] for number in node]
            if len(slots) > 1 and all(slot.ops == slots[0].ops for slot in slots):
                nodes[slots[0].kind].append(node)
        return {kind: of_kind for kind, of_kind in nodes.items() if of_kind}

    def encode(self, genotype: Genotype) -> Tokens:
        """Return the tokens of an architecture; raises UserError for an architecture of another space."""
        columns, tokens = self.space.columns(genotype), list[int]()
        for number, slot in enumerate(self.slots):
            cell, row = self.space.cells[slot.kind], columns[slot.kind]
            kept = [(source, e, column) for source, e in slot.edges.items() if (column := row[e]) is not None]
            source, e, column = kept[number - slot.first if len(slot.edges) > 1 else 0]
            tokens += [source, self.ops[cell.edges[e].ops[column]]]
        return tuple(tokens)

    def decode(self, tokens: Sequence[int]) -> Genotype:
        """Return the architecture with these tokens: the inverse of `encode`. Raises UserError as `check` does."""
        self.check(tokens)
        columns: dict[str, list[int | None]] = {k: [None] * len(cell.edges) for k, cell in self.space.cells.items()}
        names = {token: op for op, token in self.ops.items()}
        for slot, source, op in zip(self.slots, tokens[::2], tokens[1::2], strict=True):
            e = slot.edges[source]
            columns[slot.kind][e] = self.space.cells[slot.kind].edges[e].ops.index(names[op])
        return self.space.choose(columns)

    def check(self, tokens: Sequence[int]) -> None:
        """Raise UserError for the first token that is not allowed, and for a wrong number of tokens."""
        if len(tokens) != self.length:
            raise UserError(f"an architecture of space '{self.space.name}' has {self.length} tokens, not {len(tokens)}")
        for position, token in enumerate(tokens):
            allowed = self.allowed(tokens[:position])
            if token not in allowed:
                options = ", ".join(map(str, allowed))
                where = f"token {position} of an architecture of '{self.space.name}'"
                raise UserError(f"{where} is {token}, not one of {options}")

    def allowed(self, prefix: Sequence[int]) -> Tokens:
        """Return the tokens that may follow a valid prefix; none after a whole architecture."""
        number, is_op = divmod(len(prefix), 2)
        if number == len(self.slots):
            return ()
        slot = self.slots[number]
        if is_op:
            return slot.ops[prefix[-1]]
        used = prefix[2 * slot.first :: 2]
        return tuple(source for source in slot.edges if source not in used)

    def canonical(self, tokens: Sequence[int]) -> Tokens:
        """Return the tokens with interchangeable pairs of every node sorted."""
        pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
        for nodes in self._interchangeable.values():
            for node in nodes:
                pairs[node[0] : node[-1] + 1] = sorted(pairs[node[0] : node[-1] + 1])
        return tuple(token for pair in pairs for token in pair)

    def rewritten(self, tokens: Sequence[int], rng: random.Random) -> Tokens:
        """Return an equivalent sequence: per kind of cell, two pairs of one random node are swapped.

        The node is drawn from those with interchangeable pairs; a cell without such nodes is unchanged.
        """
        pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
        for nodes in self._interchangeable.values():
            one, other = rng.sample(rng.choice(nodes), 2)
            pairs[one], pairs[other] = pairs[other], pairs[one]
        return tuple(token for pair in pairs for token in pair)
