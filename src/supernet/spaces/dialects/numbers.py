"""NAO's numbers (Luo et al., NeurIPS 2018, arXiv 1808.07233, released code): one line of whole numbers.

Kind by kind and node by node there are two numbers per branch: the source node, and the operation's position among the
edge's candidates, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from supernet.errors import UserError, shown
from supernet.spaces.cell import Cell
from supernet.spaces.genotype_text import Choices


def are_numbers(text: str) -> bool:
    """Return whether the text consists of whole numbers."""
    return all(item.isascii() and item.isdigit() for item in text.split()) and bool(text.split())


def choices(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Read two numbers per group of edges; raises UserError for another count, a missing edge or operation."""
    numbers, quoted = text.split(), shown(text)
    groups = [(kind, [cell.edges[e] for e in group]) for kind, cell in cells.items() for group in cell.groups()]
    if len(numbers) != 2 * len(groups):
        counts = f"it has {len(numbers)} numbers instead of {2 * len(groups)}"
        raise UserError(f"cannot read architecture '{quoted}': {counts}")
    found: dict[str, list[tuple[int, int, str, int]]] = {kind: [] for kind in cells}
    for (kind, group), source, op in zip(groups, numbers[::2], numbers[1::2], strict=True):
        edge = {str(edge.source): edge for edge in group}.get(source)
        if edge is None:
            node = group[0].target
            raise UserError(f"cannot read architecture '{quoted}': node {node} of '{kind}' reads no node {source}")
        ops = {str(number): name for number, name in enumerate(edge.ops)}
        if op not in ops:
            raise UserError(f"cannot read architecture '{quoted}': edge {edge} of '{kind}' has no operation {op}")
        found[kind].append((edge.target, edge.source, ops[op], edge.branch))
    return found
