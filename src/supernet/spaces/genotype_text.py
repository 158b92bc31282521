"""The numbers that NAO writes an architecture as (Luo et al., NeurIPS 2018, arXiv 1808.07233, released code).

One line of whole numbers, the kinds of cell one after the other in the space's order, the nodes of each in theirs, and
for every branch of a node two: the node that it reads, and its operation, counted from 0 in the order of the edge's
candidates.
"""

from __future__ import annotations

from collections.abc import Mapping

from supernet.errors import UserError
from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Choice


def is_numbers(text: str) -> bool:
    """Return whether a text means to be of this form."""
    return all(item.isascii() and item.isdigit() for item in text.split()) and bool(text.split())


def parse_numbers(text: str, cells: Mapping[str, Cell]) -> dict[str, list[Choice]]:
    """Read the numbers into choices per kind of cell; every group of edges keeps one.

    Raises UserError for another count of numbers, and for an edge or an operation that is not there.
    """
    items, shown = text.split(), " ".join(text.split())
    groups = [(kind, cell, group) for kind, cell in cells.items() for group in cell.groups()]
    if len(items) != 2 * len(groups):
        raise UserError(f"cannot read architecture '{shown}': it has {len(items)} numbers instead of {2 * len(groups)}")
    found: dict[str, list[Choice]] = {kind: [] for kind in cells}
    for (kind, cell, group), source, op in zip(groups, items[::2], items[1::2], strict=True):
        edges = {str(edge.source): edge for edge in (cell.edges[e] for e in group)}
        if source not in edges:
            target = cell.edges[group[0]].target
            raise UserError(f"cannot read architecture '{shown}': node {target} of '{kind}' reads no node {source}")
        edge = edges[source]
        ops = {str(number): name for number, name in enumerate(edge.ops)}
        if op not in ops:
            raise UserError(f"cannot read architecture '{shown}': edge {edge} of '{kind}' has no operation {op}")
        found[kind].append(Choice(edge.target, edge.source, ops[op], edge.branch))
    return found
