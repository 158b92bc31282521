"""Tests of claims that one supernet ranks architectures better than another: holds, the opposite holds, or open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sides import spread, table
from supernet.searching.compare.statistics import difference

Found = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]  # the rankings of each variant and view, by seed


@dataclass(frozen=True)
class Claim:
    """The claim that supernets of one variant rank better than those of another, each in its own view."""

    letter: str
    better: tuple[str, str]
    worse: tuple[str, str]


def numbers(rankings: Sequence[Mapping[str, Any]], part: str, name: str) -> list[float]:
    """Return one measure of each ranking, over its `whole` or its `best_half`; NaN where it is undefined."""
    values = [ranking[part][name] for ranking in rankings]
    return [math.nan if value is None else value for value in values]


def told(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text, or an empty text if the number is undefined for some seed."""
    return "" if any(map(math.isnan, values)) else spread(values)


def verdict(differences: Sequence[float]) -> str:
    """Return 'holds' if the 95 % interval of the differences is above 0, 'the opposite holds' if below, or 'open'.

    That is Student's interval, which exists from two differences on; comparisons say of fewer than five seeds that
    these are too few to tell.
    """
    if len(differences) < 2 or any(map(math.isnan, differences)):
        return "open"
    by_seed = dict(enumerate(differences))
    interval = difference(by_seed, dict.fromkeys(by_seed, 0.0))
    return "holds" if interval.low > 0 else "the opposite holds" if interval.high < 0 else "open"


def judged(known: Found, claims: Iterable[Claim]) -> str:
    """Return the verdicts on all claims in Markdown: a row for each comparison and a sentence for each claim."""
    head, rows = ("claim", "ranks better", "than", "difference of tau", "verdict", "in the best half"), []
    verdicts: dict[str, list[str]] = {}
    for claim in claims:
        taus = [
            [numbers(known[place], part, "tau") for place in (claim.better, claim.worse)]
            for part in ("whole", "best_half")
        ]
        whole, best = ([a - b for a, b in zip(*both, strict=True)] for both in taus)
        verdicts.setdefault(claim.letter, []).append(verdict(whole))
        places = [", ".join(place) for place in (claim.better, claim.worse)]
        rows.append([claim.letter, *places, told(whole), verdict(whole), f"{verdict(best)} ({told(best)})"])
    return f"{table(rows, head)}\n" + "\n".join(map(sentence, verdicts, verdicts.values())) + "\n"


def sentence(letter: str, verdicts: Sequence[str]) -> str:
    """Return a sentence with the number of comparisons in which a claim holds."""
    counts = {name: verdicts.count(name) for name in ("holds", "the opposite holds", "open")}
    words = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return f"- ({letter}) of {len(verdicts)} comparisons: {words}."
