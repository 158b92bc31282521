"""`supernet architectures`: the published architectures, with their sizes as counted here and as published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, parse

if TYPE_CHECKING:
    from supernet.spaces.known import Known
    from supernet.spaces.size import NetworkSize

_DATA = ("cifar", "imagenet")


@dataclass(frozen=True)
class Architectures:
    """List published architectures, with the sizes of their networks for CIFAR-10 and ImageNet."""

    json: bool = False
    """print a line of JSON for each"""


def architectures(given: Arguments) -> None:
    """List the published architectures."""
    from supernet.report import console as show
    from supernet.spaces.known import known

    asked = parse("architectures", Architectures, given)
    found = [asdict(entry) | dict(_costs(entry)) for entry in known().values()]
    if asked.json:
        print("\n".join(map(json.dumps, found)))
        return
    console = show.Console()
    _table(console, found)
    show.line(console, "Millions of parameters and FLOPs, without auxiliary heads; in brackets as published.")
    show.line(console, "Errors (%, top 1) are the published ones. The sizes are those of the recipes:")
    for recipe in dict.fromkeys(recipe for row in found for recipe in row["recipes"]):
        size = _size(recipe)
        show.line(console, f"{recipe}: {size.width} channels, depth {size.depth}, {size.image_size[0]} pixels")
    show.line(console, "")
    show.listing(console, ((row["name"], f"{row['space']}; {row['paper']}", row["source"]) for row in found))
    show_next(console, "architectures")


def _size(recipe: str) -> NetworkSize:
    """Return the size of the networks that a recipe trains on CIFAR-10, or on ImageNet if it crops images."""
    from supernet.retraining.recipes import RECIPES
    from supernet.spaces.size import NetworkSize

    chosen = RECIPES[recipe]
    assert chosen.width is not None
    assert chosen.depth is not None
    side = chosen.crop or 32
    return NetworkSize(chosen.width, chosen.depth, (side, side), classes=1000 if chosen.crop else 10)


def _costs(entry: Known) -> Iterator[tuple[str, int]]:
    """Yield parameters and FLOPs of both networks of an architecture."""
    from supernet.models.cost.count import cost
    from supernet.spaces import architecture

    home, genotype = architecture(entry.architecture, entry.space)
    for data, recipe in zip(_DATA, entry.recipes, strict=True):
        found = cost(home, genotype, _size(recipe))
        yield from ((f"{data}_params", found.params), (f"{data}_flops", found.flops))


def _table(console: Any, found: list[dict[str, Any]]) -> None:
    from supernet.report.console import table_of

    table = table_of([""], ("CIFAR-10\nparams", "\nFLOPs", "\nerror", "ImageNet\nparams", "\nFLOPs", "\nerror"))
    for row in found:
        cells = []
        for data in _DATA:
            published = (row[f"{data}_params_m"], row.get(f"{data}_flops_m"))
            cells += [
                _number(row[f"{data}_params"] / 1e6, ".3f", published[0]),
                _number(row[f"{data}_flops"] / 1e6, ".0f", published[1]),
                str(row[f"{data}_error"] or "-"),
            ]
        table.add_row(row["name"], *cells)
    console.print(table)


def _number(counted: float, form: str, published: float | None) -> str:
    return f"{counted:{form}}" + ("" if published is None else f" ({published})")
