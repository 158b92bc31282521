"""Which combinations of methods, selectors and spaces the tests of a conformance suite run in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from itertools import product
from typing import Any, ClassVar, TypeVar

import pytest

from supernet.spaces import SearchSpace

Test = TypeVar("Test", bound=Callable[..., None])


def in_turn(number: int) -> Callable[[Test], Test]:
    """Run a test, of which searches take long, with one value of its last factor: the one whose turn it is."""

    def mark(test: Test) -> Test:
        test.turn = number  # type: ignore[attr-defined]
        return test

    return mark


class Conformance:
    """The base of the suites: tests whose parameters name factors, such as `space`, run in a covering array.

    A test marked by `in_turn(number)` pairs every combination of its first factors with one value of its last factor,
    and the values rotate: with the number of the test, along its combinations, and with `turn`. The expensive tests of
    one suite therefore meet every value of that factor, provided that it has as many such tests as there are values;
    several suites with consecutive `turn` meet all pairs. All other tests run in every combination.
    """

    turn: ClassVar[int] = 0

    def factors(self) -> dict[str, Sequence[Any]]:
        """Return the values of each factor."""
        raise NotImplementedError

    def combinations(self, test: Callable[..., None]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the factors that a test takes, and the combinations of their values that it runs in."""
        values = {name: self.factors()[name] for name in signature(test).parameters if name in self.factors()}
        turn = getattr(test, "turn", None)
        if turn is None or not values:
            return list(values), list(product(*values.values()))
        *complete, last = values.values()
        first = self.turn + turn
        rows = [(*row, last[(first + number) % len(last)]) for number, row in enumerate(product(*complete))]
        return list(values), rows

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tell pytest the combinations of a test."""
        names, rows = self.combinations(metafunc.function)
        if names:
            metafunc.parametrize(names, rows, ids=["-".join(map(name_of, row)) for row in rows])


def name_of(value: object) -> str:
    """Return the name of a space, method or selector."""
    if isinstance(value, SearchSpace):
        return value.name
    return value.__name__ if isinstance(value, type) else str(value)
