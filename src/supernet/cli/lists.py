"""`supernet query | spaces | methods | selectors`: look-ups and lists, without PyTorch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, make_dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, parse
from supernet.errors import UserError


@dataclass(frozen=True)
class Query:
    """Look an architecture up in a table."""

    architecture: Annotated[Positional[str | None], arg(metavar="ARCHITECTURE")] = None
    """index, architecture string in quotes, or file of one"""
    best: Annotated[str | None, arg(metavar="FIELD")] = None
    """the best architecture by this field, for example c10_test"""
    table: str = "nasbench201"
    """table to look in"""
    fields: bool = False
    """list the fields and what they mean"""
    json: bool = False
    """print every field as JSON, measured devices included"""


def query(given: Arguments) -> None:
    """Look an architecture up in a table."""
    from supernet.report import console as show
    from supernet.spaces import architecture, tables

    asked = parse("query", Query, given)
    table = tables.load(asked.table)
    if asked.fields:
        show.listing(show.Console(), ((name, about, "") for name, about in table.fields.items()))
        return
    if (asked.architecture is None) == (asked.best is None):
        raise UserError("give an architecture (string or index) or --best FIELD: supernet query 9930")
    if asked.best is not None:
        index = table.best(asked.best)
    elif re.fullmatch(r"-?\d+", asked.architecture):
        index = table.check(int(asked.architecture))
    else:
        index = table.index(architecture(asked.architecture, asked.table)[1])
    if asked.json:
        values = {name: None if math.isnan(value) else value for name, value in table.row(index, hardware=True).items()}
        print(json.dumps({"index": index, "architecture": str(table.genotype(index))} | values))
        return
    console = show.Console()
    show.line(console, str(table.genotype(index)))
    show.table_entry(console, table.summary(index).to_json())
    show_next(console, "query")


def spaces(given: Arguments) -> None:
    """List the search spaces."""
    from supernet.spaces import SPACES

    _list("spaces", given, ((value.name, value.summary, value.paper) for value in SPACES.values()))


def methods(given: Arguments) -> None:
    """List the search methods."""
    from supernet.methods import METHODS

    _list("methods", given, ((value.name, value.summary, value.paper) for value in METHODS.values()))


def selectors(given: Arguments) -> None:
    """List the selectors."""
    from supernet.selectors import SELECTORS

    _list("selectors", given, ((value.name, value.summary, value.paper) for value in SELECTORS.values()))


def _list(command: str, given: Arguments, rows: Iterable[tuple[str, str, str]]) -> None:
    from supernet.report import console as show

    parse(command, make_dataclass(command, [], namespace={"__doc__": f"List the {command}."}), given)
    console = show.Console()
    show.listing(console, rows)
    show_next(console, command)
