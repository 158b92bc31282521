"""Groups: `|op~source|...|` per node, joined by `+`, as NAS-Bench-201 (Dong & Yang, 2020) writes a cell.

With several kinds of cell each has its name in front: `normal:|...| reduce:|...|`. Around a single cell there may be
other text, as in AutoDL-Projects' `Structure(4 nodes with |...|)` or in the line of a log. A node without edges is `|`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from supernet.errors import UserError, shown
from supernet.spaces.cell import Cell
from supernet.spaces.genotype_text import Choices

_NODE = re.compile(r"\|(?:[^|~+\s]+~[0-9]{1,9}\|)*")


def is_single(text: str) -> bool:
    """Return whether a text that has groups has those of a single cell, without the name of its kind in front."""
    named = re.search(r"\S:\Z", text[: text.index("|")])
    return not named and not re.search(r"[\s:]", _joined(_single(text)))


def choices(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Return the choices per kind of cell; raises UserError for a text of another form."""
    kinds = sorted(cells)
    single = len(kinds) == 1
    parts = [f"{kinds[0]}:{_joined(_single(text))}"] if single else _joined(text).split()
    found: dict[str, Choices] = {}
    for part in parts:
        kind, _, body = part.partition(":")
        found[kind] = _cell(body, cells.get(kind), shown(text))
    if set(found) != set(kinds) or len(parts) != len(kinds):
        raise UserError(f"cannot read architecture '{shown(text)}': expected one cell for each of {', '.join(kinds)}")
    return found


def _single(text: str) -> str:
    """Return the groups of a text without the words before and after them."""
    start, end = text.index("|"), text.rindex("|") + 1
    apart = re.search(r"(\A|[\s=:,'\"(])\Z", text[:start]) and re.match(r"\Z|[\s,;'\")]", text[end:])
    return text[start:end] if apart else text.strip()


def _joined(text: str) -> str:
    """Return the text without spaces around `+`."""
    return "+".join(group.strip() for group in text.split("+"))


def _cell(body: str, cell: Cell | None, quoted: str) -> Choices:
    inputs, branched = (cell.inputs, cell.branches > 1) if cell else (1, False)
    may_be_bare = cell is not None and cell.may_be_bare
    found = []
    nodes = body.split("+")
    if cell is not None and cell.may_be_bare and len(nodes) != cell.nodes - inputs:
        count = (
            f"a cell with {len(nodes)} groups instead of {cell.nodes - inputs}; the group of a node without edges is |"
        )
        raise UserError(f"cannot read architecture '{quoted}': {count}")
    for target, group in enumerate(nodes, inputs):
        if not _NODE.fullmatch(group) or (group == "|" and not may_be_bare):
            form = "groups like |op~0|op~1|, joined by +"
            raise UserError(f"cannot read architecture '{quoted}' at '{shown(group)}': expected {form}")
        for number, item in enumerate(group.split("|")[1:-1]):
            op, _, source = item.partition("~")
            found.append((target, int(source), op, number if branched else 0))
    return found
