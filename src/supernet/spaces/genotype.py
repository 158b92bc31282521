"""Genotype: one architecture of a search space, as plain immutable data."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from supernet.errors import UserError
from supernet.spaces.genotype_text import print_cells


class Choice(NamedTuple):
    """Operation `op` on the edge from node `source` to node `target`; a cell's inputs are its first nodes.

    `branch` is that of the edge: 0 in a cell without branches.
    """

    target: int
    source: int
    op: str
    branch: int = 0


@dataclass(frozen=True)
class Genotype:
    """One architecture: per kind of cell, the operation on each edge that the architecture keeps.

    Two genotypes are equal if they put the same operations on the same edges of the same space, in whatever order they
    were written. Build one with `Genotype.of`, or with `SearchSpace.parse` from text; `str` returns the text form (see
    `supernet.spaces.genotype_text`).
    """

    space: str
    cells: tuple[tuple[str, tuple[Choice, ...]], ...]  # (kind, choices by target, branch, source), sorted by kind
    bare: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (kind, nodes without edges) where there are such, sorted

    def __post_init__(self) -> None:
        try:
            cells = {kind: sorted(chosen, key=_place) for kind, chosen in self.cells}
            bare = {kind: sorted(nodes) for kind, nodes in self.bare}
            fits = (self.cells, self.bare) == (_rows(cells), _rows(bare))
        except (AttributeError, TypeError, ValueError):
            fits = False
        names = fits and all(isinstance(name, str) for name in (self.space, *cells, *bare))
        if not names or not all(isinstance(choice, Choice) for chosen in cells.values() for choice in chosen):
            raise UserError("a Genotype is built by Genotype.of(space, {kind: [(target, source, op), ...]})")

    @classmethod
    def of(
        cls,
        space: str,
        cells: Mapping[str, Iterable[tuple[int, int, str] | tuple[int, int, str, int]]],
        bare: Mapping[str, Iterable[int]] | None = None,
    ) -> Genotype:
        """Build the genotype of `space` from `cells[kind]`: (target, source, op[, branch]) tuples in any order.

        `bare[kind]` are the nodes without edges, where a cell may have such (see `Cell.keep`). Raises UserError for
        anything else.
        """

        def choices(kind: str) -> tuple[Choice, ...]:
            return tuple(sorted((_choice(*c) for c in cells[kind]), key=_place))

        try:
            nodes = {kind: sorted(map(operator.index, of_kind)) for kind, of_kind in (bare or {}).items()}
            empty = {kind: of_kind for kind, of_kind in nodes.items() if of_kind}
            return cls(space, _rows({kind: choices(kind) for kind in cells}), _rows(empty))
        except UserError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"this is not a genotype: {error!r}; expected {{kind: [(target, source, op), ...]}}"
            ) from None

    def __getitem__(self, kind: str) -> tuple[Choice, ...]:
        return dict(self.cells)[kind]

    def __repr__(self) -> str:
        cells = {kind: [tuple(c) if c.branch else tuple(c[:3]) for c in cell] for kind, cell in self.cells}
        bare = f", {dict(self.bare)!r}" if self.bare else ""
        return f"Genotype.of({self.space!r}, {cells!r}{bare})"

    def __str__(self) -> str:
        return print_cells(self.cells, dict(self.bare))

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and strings that `from_json` reads back."""
        cells = {kind: [list(c) if c.branch else list(c[:3]) for c in cell] for kind, cell in self.cells}
        bare = {"bare": {kind: list(nodes) for kind, nodes in self.bare}} if self.bare else {}
        return {"space": self.space, "cells": cells, **bare}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Genotype:
        """Build the genotype from the output of `to_json`; raises UserError for any other data."""
        try:
            cells = {kind: [_choice(*choice) for choice in cell] for kind, cell in data["cells"].items()}
            return cls.of(str(data["space"]), cells, data.get("bare"))
        except UserError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is not a genotype: {error!r}; expected {{'space': ..., 'cells': ...}}") from None


def _rows(by_kind: Mapping[str, Iterable[Any]]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple((kind, tuple(by_kind[kind])) for kind in sorted(by_kind))


def _place(choice: Choice) -> tuple[int, int, int, str]:
    return choice.target, choice.branch, choice.source, choice.op


def _choice(target: Any, source: Any, op: Any, branch: Any = 0) -> Choice:
    return Choice(operator.index(target), operator.index(source), str(op), operator.index(branch))
