"""Penalty: expected costs of an architecture, added to its loss; zero-order search needs no gradient of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from supernet.errors import UserError
from supernet.models.mix import Mix

Price = Callable[[Mapping[str, Sequence[Sequence[float]]]], float]


class Penalty:
    """The sum of weight * cost over the terms of `text`, such as "flops=0.1,params=0.05"; no terms in "".

    `price` makes the cost of a name, from 0 to 1 (see `supernet.models.cost.expected`). Raises UserError for a text of
    another form, and for a name unknown to `price`.
    """

    def __init__(self, text: str, price: Callable[[str], Price] | None) -> None:
        terms = dict(_terms(text))
        if terms and price is None:
            raise UserError("a penalty needs costs, and the budget of this method has none: set its price")
        self._terms = [(price(name), weight) for name, weight in terms.items()] if price is not None else []

    def __call__(self, mix: Mix) -> float:
        """Return the penalty of the architectures that the op weights of `mix` describe."""
        if not self._terms:
            return 0.0
        rows = {kind: edges.weights.tolist() for kind, edges in mix.items()}
        return math.fsum(weight * price(rows) for price, weight in self._terms)


def _terms(text: str) -> Iterator[tuple[str, float]]:
    """Yield the name and the weight of every term."""
    names = set()
    for term in filter(str.strip, text.split(",") if text else []):
        name, equals, number = (part.strip() for part in term.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (name and equals and 0 <= weight < math.inf) or name in names:
            form = "terms name=weight, each name once, weights at least 0, such as flops=0.1,params=0.05"
            raise UserError(f"setting penalty takes {form}; got '{text}'")
        names.add(name)
        yield name, weight
