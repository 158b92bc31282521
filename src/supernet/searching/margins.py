"""How decided a search is: by how much the operations that it chose lead, since when, and whether it learned at all.

The margin of an edge is the op weight of its chosen operation less the best that derivation might have chosen instead:
another operation on the edge, or the best one on an edge that was left out for it. It is negative where the limits of
the search forbid the best. An edge is settled if its margin is at least LEAD of the best op weight, and if its
operation was the chosen one after each epoch of the last quarter. A search in which at most half of the edges are
settled is undecided, and so is one whose accuracy may be luck. The thresholds are from a study in docs/measurements.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.search_space import SearchSpace

LEAD = 0.02  # of the best op weight: the least margin of a settled edge
QUARTER = 4  # the share of the epochs, the last ones, that agree on a settled edge is one in so many
LUCK = 3.0  # standard deviations by which an accuracy is above guessing, where it is not luck

Rows = Sequence[Mapping[str, Any]]  # one row of metrics.jsonl per epoch


@dataclass(frozen=True)
class Margin:
    """The margin of a chosen operation in units of op weight, and as a share of the operation's op weight."""

    kind: str
    edge: str
    op: str
    margin: float
    share: float
    held: bool  # after each epoch of the last quarter

    @property
    def settled(self) -> bool:
        """Whether the operation leads, and has led, clearly."""
        return self.held and self.share >= LEAD


@dataclass(frozen=True)
class Margins:
    """The margins of all chosen operations, and the number of last epochs that they had to hold."""

    edges: tuple[Margin, ...]
    epochs: int

    @property
    def settled(self) -> int:
        """The number of settled edges."""
        return sum(edge.settled for edge in self.edges)

    @property
    def undecided(self) -> bool:
        """Whether at most half of the edges are settled."""
        return 2 * self.settled <= len(self.edges)

    @property
    def doubt(self) -> str:
        """What an undecided choice lacks, in words; empty if it is decided."""
        if not self.settled:
            return f"none of the {len(self.edges)} edges is settled"
        are = "is" if self.settled == 1 else "are"
        return f"only {self.settled} of {len(self.edges)} edges {are} settled" if self.undecided else ""

    def __str__(self) -> str:
        low, high = (f"{pick(edge.margin for edge in self.edges):.4f}" for pick in (min, max))
        held = f" and held for {self.epochs} epochs" if self.epochs > 1 else ""
        lead = f"lead by {100 * LEAD:.0f} % or more{held}"
        return f"{self.settled} of {len(self.edges)} edges {lead}; margins from {low} to {high} of op weight"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dicts."""
        found = {"settled": self.settled, "undecided": self.undecided, "epochs": self.epochs, "text": str(self)}
        return found | {"edges": [asdict(edge) for edge in self.edges]}


def margins(space: SearchSpace, genotype: Genotype, rows: Rows) -> Margins | None:
    """Return the margins of an architecture that was derived from the op scores after the last epoch.

    None where the method ranks no operations, or where its scores are those of one architecture, all 0 or 1.
    """
    if not rows or "architecture" not in rows[-1]:
        return None
    scores = rows[-1]["op_scores"]
    if all(score in (0, 1) for edges in scores.values() for edge in edges for score in edge):
        return None
    last = [row["architecture"] for row in rows[-max(2, math.ceil(len(rows) / QUARTER)) :] if "architecture" in row]
    held = [dict(space.parse(text).cells) for text in dict.fromkeys(last)]
    found = [
        Margin(kind, edge, choice.op, *lead, all(choice in cells[kind] for cells in held))
        for kind in space.cells
        for edge, choice, lead in _leads(space, kind, genotype[kind], scores[kind])
    ]
    return Margins(tuple(found), len(last)) if found else None


def _leads(
    space: SearchSpace, kind: str, chosen: Sequence[Choice], scores: Sequence[Sequence[float]]
) -> list[tuple[str, Choice, tuple[float, float]]]:
    """Return each chosen operation that had a rival, with its edge and its margin, absolute and as a share."""
    cell = space.cells[kind]
    allowed = [
        {edge.ops[column]: row[column] for column in columns}
        for edge, columns, row in zip(cell.edges, space.candidates(cell), scores, strict=True)
    ]
    numbers = {(edge.target, edge.source, edge.branch): number for number, edge in enumerate(cell.edges)}
    kept = {numbers[choice.target, choice.source, choice.branch]: choice for choice in chosen}
    found = []
    for group in cell.groups():
        left_out = [max(allowed[number].values()) for number in group if number not in kept]
        for number in filter(kept.__contains__, group):
            own, choice = dict(allowed[number]), kept[number]
            score = own.pop(choice.op)
            if rivals := [*own.values(), *left_out]:
                margin = score - max(rivals)
                found.append((str(cell.edges[number]), choice, (margin, margin / (abs(score) or 1))))
    return found


def luck(accuracy: float, y: Tensor, count: int) -> str:
    """Return why an accuracy on `count` of the images with labels `y` may be luck, as text; empty if it is not.

    Whoever always names the most frequent class is right on its share of the images, give or take.
    """
    guessing = float(y.bincount().max()) / len(y)
    spread = math.sqrt(guessing * (1 - guessing) / count)
    if accuracy > guessing + LUCK * spread:
        return ""
    what = f"{100 * accuracy:.2f} % on {count} image{'s' * (count != 1)}"
    return f"its accuracy, {what}, may be luck: the most frequent class has {100 * guessing:.2f} %"


def advice(config: Any) -> str:
    """Return what helps an undecided search whose method has the settings `config`."""
    rate = ", with a higher learning rate of alpha (--alpha.lr)" if hasattr(config, "alpha") else ""
    return f"search for more epochs{rate} or on more images"
