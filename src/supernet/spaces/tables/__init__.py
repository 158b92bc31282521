"""Tables of spaces in which every architecture has been trained."""

from __future__ import annotations

from functools import cache

from supernet.errors import unknown
from supernet.spaces.tables.nasbench201 import NasBench201
from supernet.spaces.tables.table import Table

__all__ = ["TABLES", "Table", "load"]

TABLES = {"nasbench201": NasBench201}


def load(name: str) -> Table:
    """Return the table called `name`, the same object in every call; raises UserError if there is none."""
    if not isinstance(name, str) or name not in TABLES:
        raise unknown("table", name, TABLES)
    return _loaded(name)


@cache
def _loaded(name: str) -> Table:
    return TABLES[name]()
