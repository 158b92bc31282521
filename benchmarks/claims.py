"""What the studies of rankings say of a claim that one ranks better than another: whether it holds, by the seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from small_selection import line
from study import spread

Found = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]  # per variant and view, the rankings by seed
STUDENT = (math.inf, 6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83)  # one-sided 5 %, by degrees of freedom


@dataclass(frozen=True)
class Claim:
    """That supernets of one variant rank better than those of another, in a view of each."""

    letter: str
    better: tuple[str, str]
    worse: tuple[str, str]


def numbers(rankings: Sequence[Mapping[str, Any]], part: str, name: str) -> list[float]:
    """Return a measure of the rankings, of the `whole` or of the `best_half`; NaN where there is none."""
    values = [ranking[part][name] for ranking in rankings]
    return [math.nan if value is None else value for value in values]


def told(values: Sequence[float]) -> str:
    """Return mean and standard deviation; nothing where some seed has no such number."""
    return "" if any(map(math.isnan, values)) else spread(values)


def verdict(differences: Sequence[float]) -> str:
    """Return whether differences, one per seed, are above 0: holds, the opposite holds, or open."""
    if len(differences) < 2 or any(map(math.isnan, differences)):
        return "open"
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    least = STUDENT[min(len(differences), len(STUDENT)) - 1] * error
    mean = statistics.fmean(differences)
    return "holds" if mean > least else "the opposite holds" if mean < -least else "open"


def judged(known: Found, claims: Iterable[Claim]) -> str:
    """Return which claims hold, in Markdown: a line for each comparison, and a sentence for each claim."""
    lines = [
        line(["claim", "ranks better", "than", "difference of tau", "verdict", "in the best half"]),
        line(["---"] * 6),
    ]
    verdicts: dict[str, list[str]] = {}
    for claim in claims:
        taus = [
            [numbers(known[place], part, "tau") for place in (claim.better, claim.worse)]
            for part in ("whole", "best_half")
        ]
        whole, best = ([a - b for a, b in zip(*both, strict=True)] for both in taus)
        verdicts.setdefault(claim.letter, []).append(verdict(whole))
        places = [", ".join(place) for place in (claim.better, claim.worse)]
        lines.append(line([claim.letter, *places, told(whole), verdict(whole), f"{verdict(best)} ({told(best)})"]))
    return "\n".join(lines) + "\n\n" + "\n".join(map(sentence, verdicts, verdicts.values())) + "\n"


def sentence(letter: str, verdicts: Sequence[str]) -> str:
    """Say how often a claim holds."""
    counts = {name: verdicts.count(name) for name in ("holds", "the opposite holds", "open")}
    words = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return f"- ({letter}) of {len(verdicts)} comparisons: {words}."
