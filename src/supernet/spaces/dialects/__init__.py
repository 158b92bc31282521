"""The text forms in which an architecture is read. Each is recognised by its look, and nothing in it is executed.

- Groups `|op~source|...|` joined by `+`, as NAS-Bench-201 and AutoDL-Projects' `Structure(...)` have them (`groups`).
- Python literals: DARTS' `Genotype(...)`, also with a list per node as in pt.darts or as a dict; AutoDL-Projects' tuple
  of nodes; NASLib's tuple of six operations (`literals`).
- NAO's numbers (`numbers`), and the index in the table of the space.
- JSON as `Genotype.to_json` returns it and `genotype.json` holds it.
- The name of a published architecture, such as `DARTS_V2` (`supernet.spaces.known`).

A `Genotype(...)` or groups may stand in a line of a log. The parsers check only the form and raise UserError; the space
checks its own edges and operations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from supernet.errors import UserError, shown
from supernet.spaces.cell import Cell
from supernet.spaces.dialects import groups, literals, numbers
from supernet.spaces.genotype import Genotype
from supernet.spaces.genotype_text import Choices
from supernet.spaces.known import known, meant

__all__ = ["LONGEST", "choices", "form_of", "home_of", "unreadable"]

Form = Literal["json", "literal", "groups", "numbers", "index", "name"]
LONGEST = 10**7  # characters of a text

_KNOWN = (
    "expected |op~0|+|op~0|op~1|+..., Genotype(...), a tuple of nodes or operations, NAO's numbers, an index of a "
    "table, genotype.json, or a name that `supernet architectures` lists"
)


def form_of(text: str) -> Form | None:
    """Return the form that a text looks like, None for a text of no form."""
    if _json(text) is not None:
        return "json"
    if literals.begins(text):
        return "literal"
    if "|" in text:
        return "groups"
    if numbers.are_numbers(text):
        return "numbers" if len(text.split()) > 1 else "index"
    return "name" if text.strip() in known() else None


def home_of(text: str) -> str | None:
    """Return the name of the published space whose form a text has, or that it names itself; None if it does neither.

    Raises UserError for a Python literal that cannot be read.
    """
    match form_of(text):
        case "json":
            name = (_json(text) or {}).get("space")
            return name if isinstance(name, str) else None
        case "literal":
            return "darts" if isinstance(literals.value_of(text), Mapping) else "nasbench201"
        case "groups":
            return "nasbench201" if groups.is_single(text) else None
        case "index":
            return "nasbench201"
        case "name":
            return known()[text.strip()].space
    return None


def choices(text: str, cells: Mapping[str, Cell]) -> Mapping[str, Choices]:
    """Return the choices per kind of cell of a text in any form but an index, which only a table can read."""
    if len(text) > LONGEST:
        raise UserError(f"cannot read architecture '{shown(text[:1000])}': it has more than {LONGEST} characters")
    match form_of(text):
        case "json":
            return dict(Genotype.from_json(_json(text) or {}).cells)
        case "literal":
            return literals.choices(text, cells)
        case "groups":
            return groups.choices(text, cells)
        case "numbers" if any(cell.branches > 1 for cell in cells.values()):
            return numbers.choices(text, cells)
        case "name":
            return choices(known()[text.strip()].architecture, cells)
    raise unreadable(text)


def unreadable(text: str) -> UserError:
    """Return the error for a text of no form, or of a form that its space does not have."""
    return UserError(f"cannot read architecture '{shown(text)}': {meant(text)}{_KNOWN}")


def _json(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is and that has cells, None for any other text."""
    if not re.match(r"\s*\{", text) or '"cells"' not in text:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and "cells" in data else None
