"""Genotype: one architecture of a search space, as plain immutable data.

The text form is NAS-Bench-201's architecture string (Dong & Yang, 2020): one group `|op~source|...|` per node,
groups joined by `+`. A genotype with several kinds of cell prefixes each with its name: `normal:|...| reduce:|...|`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from supernet.errors import UserError


class Choice(NamedTuple):
    """Operation `op` on the edge from node `source` to node `target`; a cell's inputs are its first nodes."""

    target: int
    source: int
    op: str


@dataclass(frozen=True)
class Genotype:
    """One architecture: per kind of cell, the operation on each edge that is kept.

    Two genotypes are equal when they put the same operations on the same edges of the same space, however they were
    written. Build one with `Genotype.of`, or read it from text through its space.
    """

    space: str
    cells: tuple[tuple[str, tuple[Choice, ...]], ...]  # (kind, choices sorted by target, then source), sorted by kind

    @classmethod
    def of(cls, space: str, cells: Mapping[str, Iterable[tuple[int, int, str]]]) -> Genotype:
        """Build the genotype of `space` with `cells[kind]` = (target, source, op) triples in any order."""
        ordered = ((kind, tuple(sorted(Choice(*choice) for choice in cells[kind]))) for kind in sorted(cells))
        return cls(space, tuple(ordered))

    def __getitem__(self, kind: str) -> tuple[Choice, ...]:
        return dict(self.cells)[kind]

    def __str__(self) -> str:
        texts = {kind: _cell_text(choices) for kind, choices in self.cells}
        if len(texts) == 1:
            return next(iter(texts.values()))
        return " ".join(f"{kind}:{text}" for kind, text in texts.items())

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and strings: what `from_json` reads back."""
        return {"space": self.space, "cells": {kind: [list(choice) for choice in cell] for kind, cell in self.cells}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Genotype:
        """Read what `to_json` wrote; raises UserError if it is something else."""
        try:
            cells = {
                kind: [(operator.index(t), operator.index(s), str(op)) for t, s, op in cell]
                for kind, cell in data["cells"].items()
            }
            return cls.of(str(data["space"]), cells)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is not a genotype: {error!r}; expected {{'space': ..., 'cells': ...}}") from None


def _cell_text(choices: tuple[Choice, ...]) -> str:
    nodes = groupby(choices, key=lambda choice: choice.target)
    return "+".join("|" + "".join(f"{c.op}~{c.source}|" for c in node) for _, node in nodes)


_NODE = re.compile(r"\|(?:[^|~+\s]+~[0-9]{1,9}\|)+")


def parse_cells(text: str, kinds: Iterable[str], inputs: int) -> dict[str, list[Choice]]:
    """Read the text form into choices per kind of cell; nodes are numbered from `inputs`.

    Only the form is checked here; whether a space has such edges and operations is for the space to say.
    Raises UserError.
    """
    names, shown = list(kinds), " ".join(text.split())
    parts = [text.strip()] if len(names) == 1 else text.split()
    cells: dict[str, list[Choice]] = {}
    for part in parts:
        kind, _, body = (names[0], "", part) if len(names) == 1 else part.partition(":")
        cells[kind] = _parse_cell(body, inputs, shown)
    if set(cells) != set(names) or len(parts) != len(names):
        raise UserError(f"cannot read architecture '{shown}': expected one cell for each of {', '.join(names)}")
    return cells


def _parse_cell(body: str, inputs: int, whole: str) -> list[Choice]:
    choices = []
    for number, group in enumerate(body.split("+")):
        if not _NODE.fullmatch(group):
            wanted = "groups like |op~0|op~1|, joined by +"
            raise UserError(f"cannot read architecture '{whole}' at '{' '.join(group.split())}': expected {wanted}")
        for item in group.strip("|").split("|"):
            op, _, source = item.partition("~")
            choices.append(Choice(number + inputs, int(source), op))
    return choices
