"""Architectures as Python literals, read as a syntax tree: nothing is executed.

- DARTS' call (Liu, Simonyan & Yang, 2019) of `Genotype`, also behind other text, as in `genotype = Genotype(...)` and
  in logs; pt.darts has a list of pairs for each node, and AutoDL-Projects a dict of the same fields.
- AutoDL-Projects' tuple of nodes, each a tuple of (op, source): `((('none', 0),), (('none', 0), ('none', 1)), ...)`.
- NASLib's operations of NAS-Bench-201, `(4, 0, 3, 1, 4, 3)`, in NASLib's own order of edges and of operations: those of
  `EDGE_LIST` and `OP_NAMES` in its `search_spaces/nasbench201/conversions.py`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

from supernet.errors import UserError, shown
from supernet.spaces.cell import Cell
from supernet.spaces.genotype_text import Choices

NASLIB_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
NASLIB_EDGES = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2))  # (target, source), nodes counted from 0

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_FORM = "Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)"
_LONGEST = 200_000  # characters: the syntax tree takes hundreds of times as much memory
_CALL = re.compile(r"(?<![\w.])Genotype\(")
_NAME = re.compile(r"\s*\w+\s*[=:]\s*(?=[(\[{])")


def begins(text: str) -> bool:
    """Return whether the text holds a call of `Genotype`, or begins as a literal and holds no group."""
    return bool(_CALL.search(text)) or ("|" not in text and _literal_of(text)[:1] in ("(", "[", "{"))


def _literal_of(text: str) -> str:
    """Return the literal of a text: without a name in front, or from `Genotype(` to its last parenthesis in a log."""
    call = _CALL.search(text)
    if call is None:
        return _NAME.sub("", text, count=1).strip() if _NAME.match(text) else text.strip()
    return text.strip() if not text[: call.start()].strip() else _balanced(text[call.start() :])


def _balanced(text: str) -> str:
    """Return the text up to the parenthesis that closes its first one, all of it if none does."""
    depth = 0
    for part in re.finditer(r"'[^'\n]*'|\"[^\"\n]*\"|[()]", text):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0 and part[0] == ")":
            return text[: part.end()]
    return text


def value_of(text: str) -> Any:
    """Return the literal that a text is, the fields of `Genotype(...)` as a mapping; raises UserError."""
    literal = _literal_of(text)
    form = _FORM if _CALL.match(literal) else "a tuple of nodes, each with pairs (op, source), or of six operations"
    if len(literal) > _LONGEST:
        raise _unreadable(text, f"it has more than {_LONGEST} characters", form)
    try:
        tree = ast.parse(literal, mode="eval").body
        return _fields(tree) if isinstance(tree, ast.Call | ast.Dict) or _CALL.match(literal) else _literal(tree)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(text, str(error) or "it is nested too deep", form) from None


def _unreadable(text: str, reason: str, form: str = _FORM) -> UserError:
    return UserError(f"cannot read architecture '{shown(text)}': {shown(reason)}; expected {form}")


def choices(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Return the choices per kind of cell; raises UserError for a literal of another form."""
    value = value_of(text)
    try:
        if isinstance(value, Mapping):
            return {kind: _darts(kind, value, text, cells.get(kind)) for kind in ("normal", "reduce")}
        if len(cells) != 1:
            raise _unreadable(text, "it has a single cell", f"one cell for each of {', '.join(sorted(cells))}")
        ((kind, cell),) = cells.items()
        if all(type(number) is int for number in value):
            return {kind: _naslib(value, cell)}
        return {kind: _nodes(value, cell.inputs)}
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise _unreadable(text, str(error), _FORM if isinstance(value, Mapping) else "a tuple of nodes") from None


def _darts(kind: str, fields: Mapping[str, Any], text: str, cell: Cell | None) -> Choices:
    """Return the choices of a cell with two input nodes, given as pairs, two for each node, or as a list per node."""
    pairs, concat = list(fields[kind]), [_node(node) for node in fields[f"{kind}_concat"]]
    many = (list, tuple)
    per_node = pairs and all(isinstance(node, many) and isinstance(next(iter(node), None), many) for node in pairs)
    groups = pairs if per_node else [pairs[start : start + 2] for start in range(0, len(pairs), 2)]
    found = _nodes(groups, 2)
    nodes = list(range(2, 2 + len(groups)))
    if sorted(concat) != nodes or len(found) != 2 * len(nodes):
        raise UserError(
            f"cannot read architecture '{shown(text)}': {kind} has {len(found)} operations, two for each of nodes "
            f"{list(range(2, 2 + len(found) // 2))}, and its output must be these nodes, not {concat}"
        )
    if cell is not None and cell.may_be_bare and len(groups) != cell.nodes - cell.inputs:
        form = f"nodes without edges are written as |, in {kind}:|op~0|op~1|+|+..."
        raise UserError(f"cannot read architecture '{shown(text)}': {kind} ends at node {1 + len(groups)}; {form}")
    return found


def _nodes(groups: Sequence[Any], inputs: int) -> Choices:
    """Return the choices of nodes, each given as pairs (op, source); the first has the number `inputs`."""
    return [(t, _node(source), str(op), 0) for t, pairs in enumerate(groups, inputs) for op, source in pairs]


def _naslib(numbers: Sequence[int], cell: Cell) -> Choices:
    edges = {(edge.target, edge.source) for edge in cell.edges}
    if edges != set(NASLIB_EDGES) or len(numbers) != len(NASLIB_EDGES):
        raise ValueError(f"{len(numbers)} operations, and only NAS-Bench-201's cell is written so, with 6")
    if not all(0 <= number < len(NASLIB_OPS) for number in numbers):
        raise ValueError(f"operations are numbered 0 to {len(NASLIB_OPS) - 1}: {', '.join(NASLIB_OPS)}")
    return [(*edge, NASLIB_OPS[number], 0) for edge, number in zip(NASLIB_EDGES, numbers, strict=True)]


def _fields(tree: ast.expr) -> dict[str, Any]:
    match tree:
        case ast.Call(ast.Name("Genotype"), arguments, keywords):
            named = [*zip(_FIELDS, arguments, strict=False), *((str(word.arg), word.value) for word in keywords)]
            count = len(arguments) + len(keywords)
        case ast.Dict(keys, values):
            named = [(str(getattr(key, "value", None)), value) for key, value in zip(keys, values, strict=True)]
            count = len(keys)
        case _:
            raise ValueError("it is no Genotype(...)")
    fields = dict(named)
    if count != len(fields) or set(fields) != set(_FIELDS):
        raise ValueError(f"it needs the fields {', '.join(_FIELDS)}, each once")
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
