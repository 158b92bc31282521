"""Reading many pictures: those that cannot be read are collected, and named in one error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from supernet.data.levels import FULL, Levels, levels_of
from supernet.errors import UserError

K = TypeVar("K")
T = TypeVar("T")
_NAMED = 10  # broken pictures that a message names


def read_all(keys: Iterable[K], reads: Callable[[K], T], broken: dict[K, str]) -> dict[K, T]:
    """Return the result of `reads` for each picture; for those that cannot be read, the reason is put into `broken`."""
    found: dict[K, T] = {}
    for key in keys:
        try:
            found[key] = reads(key)
        except UserError as error:
            broken[key] = str(error)
    return found


def levels_in(deep: Iterable[K], range_of: Callable[[K], Levels], broken: dict[K, str]) -> Levels | None:
    """Return the levels of pictures of more than 8 bits; None if there are no such pictures."""
    ranges = [
        found for found in read_all(deep, range_of, broken).values() if FULL[0] <= found[0] and found[1] <= FULL[1]
    ]
    return levels_of(min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None


def broken_error(broken: Mapping[str, str]) -> UserError:
    """Return the error that names broken pictures, given by name with the reasons."""
    if len(broken) == 1:
        return UserError(next(iter(broken.values())))
    named = list(broken)[:_NAMED]
    more = f" and {len(broken) - len(named)} more" if len(broken) > len(named) else ""
    advice = "supernet data tells why, --skip-broken goes on without them"
    return UserError(f"cannot read {len(broken)} images: {', '.join(named)}{more}; {advice}")
