"""Genotype: one architecture of a search space, as plain immutable data.

The text form is NAS-Bench-201's architecture string (Dong & Yang, 2020): one group `|op~source|...|` per node,
groups joined by `+`. A genotype with several kinds of cell prefixes each with its name: `normal:|...| reduce:|...|`.
In a cell with branches, as NAO's, a group has the choices of the node's branches in their order.
An architecture of DARTS' form (Liu, Simonyan & Yang, 2019) is written as in that paper's code:
`Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from supernet.errors import UserError


class Choice(NamedTuple):
    """Operation `op` on the edge from node `source` to node `target`; a cell's inputs are its first nodes.

    `branch` is the edge's, 0 in a cell without branches.
    """

    target: int
    source: int
    op: str
    branch: int = 0


@dataclass(frozen=True)
class Genotype:
    """One architecture: per kind of cell, the operation on each edge that is kept.

    Two genotypes are equal when they put the same operations on the same edges of the same space, however they were
    written. Build one with `Genotype.of`, or read it from text through its space.
    """

    space: str
    cells: tuple[tuple[str, tuple[Choice, ...]], ...]  # (kind, choices by target, branch, source), sorted by kind

    @classmethod
    def of(
        cls, space: str, cells: Mapping[str, Iterable[tuple[int, int, str] | tuple[int, int, str, int]]]
    ) -> Genotype:
        """Build the genotype of `space` with `cells[kind]` = (target, source, op), or with a branch, in any order."""
        choices = {kind: [Choice(*choice) for choice in cells[kind]] for kind in sorted(cells)}
        return cls(space, tuple((kind, tuple(sorted(own, key=_order))) for kind, own in choices.items()))

    def __getitem__(self, kind: str) -> tuple[Choice, ...]:
        return dict(self.cells)[kind]

    def __str__(self) -> str:
        if self._is_darts():
            return f"Genotype({', '.join(_darts_text(kind, choices) for kind, choices in self.cells)})"
        texts = {kind: _cell_text(choices) for kind, choices in self.cells}
        if len(texts) == 1:
            return next(iter(texts.values()))
        return " ".join(f"{kind}:{text}" for kind, text in texts.items())

    def _is_darts(self) -> bool:
        """Whether it has a normal and a reduction cell of two inputs, and two edges into every other node."""
        if [kind for kind, _ in self.cells] != ["normal", "reduce"]:
            return False
        if any(choice.branch for _, choices in self.cells for choice in choices):
            return False
        targets = ([choice.target for choice in choices] for _, choices in self.cells)
        return all(found and found == [2 + n // 2 for n in range(len(found) & ~1)] for found in targets)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and strings: what `from_json` reads back."""
        cells = {kind: [list(c) if c.branch else list(c[:3]) for c in cell] for kind, cell in self.cells}
        return {"space": self.space, "cells": cells}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Genotype:
        """Read what `to_json` wrote; raises UserError if it is something else."""
        try:
            cells = {kind: [_choice(*choice) for choice in cell] for kind, cell in data["cells"].items()}
            return cls.of(str(data["space"]), cells)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is not a genotype: {error!r}; expected {{'space': ..., 'cells': ...}}") from None


def _choice(target: Any, source: Any, op: Any, branch: Any = 0) -> Choice:
    return Choice(operator.index(target), operator.index(source), str(op), operator.index(branch))


def _order(choice: Choice) -> tuple[int, int, int, str]:
    return choice.target, choice.branch, choice.source, choice.op


def _cell_text(choices: tuple[Choice, ...]) -> str:
    nodes = groupby(choices, key=lambda choice: choice.target)
    return "+".join("|" + "".join(f"{c.op}~{c.source}|" for c in node) for _, node in nodes)


_NODE = re.compile(r"\|(?:[^|~+\s]+~[0-9]{1,9}\|)+")


def parse_cells(text: str, inputs: Mapping[str, int], branched: Collection[str] = ()) -> dict[str, list[Choice]]:
    """Read the text form into choices per kind of cell; `inputs` has the kinds, and how many inputs each has.

    In the kinds that are `branched` the choices of a node are those of its branches 0, 1, ...

    Only the form is checked here; whether a space has such edges and operations is for the space to say.
    Raises UserError.
    """
    names, shown = list(inputs), " ".join(text.split())
    parts = [text.strip()] if len(names) == 1 else text.split()
    cells: dict[str, list[Choice]] = {}
    for part in parts:
        kind, _, body = (names[0], "", part) if len(names) == 1 else part.partition(":")
        cells[kind] = _parse_cell(body, inputs.get(kind, 1), kind in branched, shown)
    if set(cells) != set(names) or len(parts) != len(names):
        raise UserError(f"cannot read architecture '{shown}': expected one cell for each of {', '.join(names)}")
    return cells


def _parse_cell(body: str, inputs: int, branched: bool, whole: str) -> list[Choice]:
    choices = []
    for number, group in enumerate(body.split("+")):
        if not _NODE.fullmatch(group):
            wanted = "groups like |op~0|op~1|, joined by +"
            raise UserError(f"cannot read architecture '{whole}' at '{' '.join(group.split())}': expected {wanted}")
        for place, item in enumerate(group.strip("|").split("|")):
            op, _, source = item.partition("~")
            choices.append(Choice(number + inputs, int(source), op, place if branched else 0))
    return choices


_DARTS_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")


def _darts_text(kind: str, choices: tuple[Choice, ...]) -> str:
    pairs = ", ".join(f"({choice.op!r}, {choice.source})" for choice in choices)
    return f"{kind}=[{pairs}], {kind}_concat=range(2, {2 + len(choices) // 2})"


def is_darts(text: str) -> bool:
    """Return whether a text means to be of DARTS' form."""
    return text.lstrip().startswith("Genotype(")


def parse_darts(text: str) -> dict[str, list[Choice]]:
    """Read `Genotype(normal=[...], normal_concat=..., reduce=[...], reduce_concat=...)`; nothing is executed.

    Pairs come two per node, in the order of the nodes; the output must be all the nodes. Raises UserError.
    """
    shown = " ".join(text.split())
    try:
        fields = _darts_fields(text)
        cells = {kind: [(str(op), _node(source)) for op, source in fields[kind]] for kind in ("normal", "reduce")}
        concats = {kind: [_node(node) for node in fields[f"{kind}_concat"]] for kind in cells}
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        wanted = "Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)"
        raise UserError(
            f"cannot read architecture '{shown}': {str(error) or 'it is nested too deep'}; expected {wanted}"
        ) from None
    for kind, pairs in cells.items():
        nodes = list(range(2, 2 + len(pairs) // 2))
        if len(pairs) % 2 or sorted(concats[kind]) != nodes:
            raise UserError(
                f"cannot read architecture '{shown}': {kind} has {len(pairs)} operations, two for each of nodes "
                f"{nodes}, and its output must be these nodes, not {concats[kind]}"
            )
    return {kind: [Choice(2 + n // 2, source, op) for n, (op, source) in enumerate(cells[kind])] for kind in cells}


def _darts_fields(text: str) -> dict[str, Any]:
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise ValueError("it is no Genotype(...)")
    given = dict(zip(_DARTS_FIELDS, call.args, strict=False)) | {str(k.arg): k.value for k in call.keywords}
    if len(call.args) + len(call.keywords) != len(given) or set(given) != set(_DARTS_FIELDS):
        raise ValueError(f"it needs the fields {', '.join(_DARTS_FIELDS)}, each once")
    return {name: _literal(value) for name, value in given.items()}


def _literal(node: ast.expr) -> Any:
    try:
        match node:
            case ast.Call(ast.Name("range"), [_] | [_, _] as feasible, []):
                return list(range(*(_node(ast.literal_eval(bound)) for bound in feasible)))
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError("something in it is neither a list of (op, source) nor of nodes") from None


def _node(number: Any) -> int:
    """Return the number of a node; raises TypeError or ValueError if it is none."""
    if not 0 <= operator.index(number) < 1000:
        raise ValueError("a node has a number that no node has")
    return operator.index(number)
