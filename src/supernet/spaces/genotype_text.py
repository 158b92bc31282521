"""The text of an architecture, printed from its cells as lists of choices; `supernet.spaces.dialects` reads it.

- NAS-Bench-201's string (Dong & Yang, 2020): one group `|op~source|...|` per node, groups joined by `+`. With several
  kinds of cell each has its name in front: `normal:|...| reduce:|...|`. In a cell with branches, as NAO's, a group has
  the choices of branches 0, 1, ... in order. The group of a node without edges is `|`.
- DARTS' Python call (Liu, Simonyan & Yang, 2019), for cells of its form:
  `Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

Choices = Sequence[tuple[int, int, str, int]]
"""The chosen operations of a cell: (target, source, op, branch)."""


def print_cells(cells: Iterable[tuple[str, Choices]], bare: Mapping[str, Collection[int]]) -> str:
    """Return the text of (kind, choices) pairs: DARTS' where the cells have its form, otherwise NAS-Bench-201's.

    The choices of a cell are sorted by target, branch and source; `bare` are the nodes of a kind without edges.
    """
    pairs = list(cells)
    if not bare and _has_darts_form(pairs):
        return f"Genotype({', '.join(_darts_text(kind, choices) for kind, choices in pairs)})"
    texts = [(kind, _cell_text(choices, bare.get(kind, ()))) for kind, choices in pairs]
    return texts[0][1] if len(texts) == 1 else " ".join(f"{kind}:{text}" for kind, text in texts)


def _has_darts_form(cells: Sequence[tuple[str, Choices]]) -> bool:
    """Return whether the cells are normal and reduce, of two inputs, with two edges into every other node."""
    if [kind for kind, _ in cells] != ["normal", "reduce"]:
        return False
    if any(branch for _, choices in cells for *_, branch in choices):
        return False
    targets = ([target for target, *_ in choices] for _, choices in cells)
    return all(nodes and nodes == [2 + n // 2 for n in range(len(nodes) & ~1)] for nodes in targets)


def _darts_text(kind: str, choices: Choices) -> str:
    pairs = ", ".join(f"({op!r}, {source})" for _, source, op, _ in choices)
    return f"{kind}=[{pairs}], {kind}_concat=range(2, {2 + len(choices) // 2})"


def _cell_text(choices: Choices, bare: Collection[int]) -> str:
    groups = dict.fromkeys(sorted({*bare, *(target for target, *_ in choices)}), "|")
    for target, source, op, _ in choices:
        groups[target] += f"{op}~{source}|"
    return "+".join(groups.values())
