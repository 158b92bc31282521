"""Penalty: what an architecture costs, added to its loss: a method that needs no gradient needs none of the cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from supernet.errors import UserError
from supernet.models.mix import Mix

Price = Callable[[Mapping[str, Sequence[Sequence[float]]]], float]


class Penalty:
    """The sum of weight * cost over the terms of `text`, "flops=0.1,params=0.05"; "" is none.

    `price` makes the cost of that name, from 0 to 1 (see `supernet.models.cost.Expected`). Raises UserError for a text that
    is not of this form, and for a name that `price` does not know.
    """

    def __init__(self, text: str, price: Callable[[str], Price] | None) -> None:
        terms = dict(_terms(text))
        if terms and price is None:
            raise UserError("a penalty needs costs, which the budget of this method has not: set its price")
        self._terms = [(price(name), weight) for name, weight in terms.items()] if price is not None else []

    def __call__(self, mix: Mix) -> float:
        """Return the penalty of the architecture that op weights mean."""
        if not self._terms:
            return 0.0
        rows = {kind: edges.weights.tolist() for kind, edges in mix.items()}
        return math.fsum(weight * price(rows) for price, weight in self._terms)


def _terms(text: str) -> Iterator[tuple[str, float]]:
    """Return names and weights."""
    names = set()
    for term in filter(str.strip, text.split(",") if text else []):
        name, equals, number = (part.strip() for part in term.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (name and equals and 0 <= weight < math.inf) or name in names:
            wanted = "terms name=weight, each name once, weights at least 0, as flops=0.1,params=0.05"
            raise UserError(f"setting penalty takes {wanted}; got '{text}'")
        names.add(name)
        yield name, weight
