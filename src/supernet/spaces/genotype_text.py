"""The text forms of an architecture: reading and printing its cells as lists of choices (target, source, op, branch).

- NAS-Bench-201's string (Dong & Yang, 2020): one group `|op~source|...|` per node, groups joined by `+`. With several
  kinds of cell each has its name in front: `normal:|...| reduce:|...|`. In a cell with branches, as NAO's, a group has
  the choices of branches 0, 1, ... in order.
- DARTS' Python call (Liu, Simonyan & Yang, 2019), for cells of its form:
  `Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`.
- NAO's numbers (Luo et al., NeurIPS 2018, arXiv 1808.07233, released code), only read: one line of whole numbers, kind
  by kind and node by node, with two numbers per branch: the source node, and the operation's position among the edge's
  candidates, counted from 0.

The parsers check only the form and raise UserError; the space checks its own edges and operations.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from supernet.errors import UserError
from supernet.spaces.cell import Cell

Choices = Sequence[tuple[int, int, str, int]]
"""The chosen operations of a cell: (target, source, op, branch)."""

_NODE = re.compile(r"\|(?:[^|~+\s]+~[0-9]{1,9}\|)+")
_DARTS_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_DARTS_FORM = "Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)"


def print_cells(cells: Iterable[tuple[str, Choices]]) -> str:
    """Return the text of (kind, choices) pairs: DARTS' where the cells have its form, otherwise NAS-Bench-201's.

    The choices of a cell are sorted by target, branch and source.
    """
    pairs = list(cells)
    if _has_darts_form(pairs):
        return f"Genotype({', '.join(_darts_text(kind, choices) for kind, choices in pairs)})"
    texts = [(kind, _cell_text(choices)) for kind, choices in pairs]
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


def _cell_text(choices: Choices) -> str:
    nodes = groupby(choices, key=lambda choice: choice[0])
    return "+".join("|" + "".join(f"{op}~{source}|" for _, source, op, _ in node) for _, node in nodes)


def parse_text(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Return the choices per kind of cell of a text in any of the three forms; numbers need a cell with branches."""
    if is_darts(text):
        return _parse_darts(text)
    if is_numbers(text) and any(cell.branches > 1 for cell in cells.values()):
        return _parse_numbers(text, cells)
    return _parse_cells(text, cells)


def is_darts(text: str) -> bool:
    """Return whether the text begins as DARTS' form does."""
    return text.lstrip().startswith("Genotype(")


def is_numbers(text: str) -> bool:
    """Return whether the text consists of whole numbers, as NAO's form does."""
    return all(item.isascii() and item.isdigit() for item in text.split()) and bool(text.split())


def _parse_cells(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    kinds, shown = sorted(cells), " ".join(text.split())
    single = len(kinds) == 1
    parts = [f"{kinds[0]}:{text.strip()}"] if single else text.split()
    choices: dict[str, Choices] = {}
    for part in parts:
        kind, _, body = part.partition(":")
        choices[kind] = _parse_cell(body, cells.get(kind), shown)
    if set(choices) != set(kinds) or len(parts) != len(kinds):
        raise UserError(f"cannot read architecture '{shown}': expected one cell for each of {', '.join(kinds)}")
    return choices


def _parse_cell(body: str, cell: Cell | None, shown: str) -> Choices:
    inputs, branched = (cell.inputs, cell.branches > 1) if cell else (1, False)
    choices = []
    for target, group in enumerate(body.split("+"), inputs):
        if not _NODE.fullmatch(group):
            form = "groups like |op~0|op~1|, joined by +"
            raise UserError(f"cannot read architecture '{shown}' at '{' '.join(group.split())}': expected {form}")
        for number, item in enumerate(group.strip("|").split("|")):
            op, _, source = item.partition("~")
            choices.append((target, int(source), op, number if branched else 0))
    return choices


def _parse_darts(text: str) -> Mapping[str, Choices]:
    """Read the call as a syntax tree: nothing is executed."""
    shown = " ".join(text.split())
    try:
        fields = _darts_fields(text)
        pairs = {kind: [(str(op), _node(source)) for op, source in fields[kind]] for kind in ("normal", "reduce")}
        concats = {kind: [_node(node) for node in fields[f"{kind}_concat"]] for kind in pairs}
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is nested too deep"
        raise UserError(f"cannot read architecture '{shown}': {reason}; expected {_DARTS_FORM}") from None
    for kind, chosen in pairs.items():
        nodes = list(range(2, 2 + len(chosen) // 2))
        if len(chosen) % 2 or sorted(concats[kind]) != nodes:
            raise UserError(
                f"cannot read architecture '{shown}': {kind} has {len(chosen)} operations, two for each of nodes "
                f"{nodes}, and its output must be these nodes, not {concats[kind]}"
            )
    return {kind: [(2 + n // 2, source, op, 0) for n, (op, source) in enumerate(pairs[kind])] for kind in pairs}


def _darts_fields(text: str) -> dict[str, Any]:
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise ValueError("it is no Genotype(...)")
    fields = dict(zip(_DARTS_FIELDS, call.args, strict=False)) | {str(k.arg): k.value for k in call.keywords}
    if len(call.args) + len(call.keywords) != len(fields) or set(fields) != set(_DARTS_FIELDS):
        raise ValueError(f"it needs the fields {', '.join(_DARTS_FIELDS)}, each once")
    return {name: _literal(value) for name, value in fields.items()}


def _literal(node: ast.expr) -> Any:
    try:
        match node:
            case ast.Call(ast.Name("range"), [_] | [_, _] as bounds, []):
                return list(range(*(_node(ast.literal_eval(bound)) for bound in bounds)))
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError("something in it is neither a list of (op, source) nor of nodes") from None


def _node(number: Any) -> int:
    """Return the number of a node; raises TypeError or ValueError if `number` is not a whole number below 1000."""
    if not 0 <= operator.index(number) < 1000:
        raise ValueError("a node has a number that no node has")
    return operator.index(number)


def _parse_numbers(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Read two numbers per group of edges; raises UserError for another count, a missing edge or operation."""
    numbers, shown = text.split(), " ".join(text.split())
    groups = [(kind, [cell.edges[e] for e in group]) for kind, cell in cells.items() for group in cell.groups()]
    if len(numbers) != 2 * len(groups):
        counts = f"it has {len(numbers)} numbers instead of {2 * len(groups)}"
        raise UserError(f"cannot read architecture '{shown}': {counts}")
    choices: dict[str, list[tuple[int, int, str, int]]] = {kind: [] for kind in cells}
    for (kind, group), source, op in zip(groups, numbers[::2], numbers[1::2], strict=True):
        edge = {str(edge.source): edge for edge in group}.get(source)
        if edge is None:
            node = group[0].target
            raise UserError(f"cannot read architecture '{shown}': node {node} of '{kind}' reads no node {source}")
        ops = {str(number): name for number, name in enumerate(edge.ops)}
        if op not in ops:
            raise UserError(f"cannot read architecture '{shown}': edge {edge} of '{kind}' has no operation {op}")
        choices[kind].append((edge.target, edge.source, ops[op], edge.branch))
    return choices
