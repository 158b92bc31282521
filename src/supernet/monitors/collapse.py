"""Whether an architecture has collapsed: what is left of it that computes with learned weights.

Only operations on a path from the cell's input to its output count; the rest of a cell does nothing. The thresholds are
read off all 15 625 architectures of NAS-Bench-201 (CIFAR-10 test accuracy, 200 epochs): with no learned operation at
work the median is 75.7 %, with 1 of 6 edges 88.8 %, with 2 90.8 %, with 3 92.0 %, with 4 to 6 92.6 to 93.3 %.
`benchmarks/collapse_thresholds.py` prints that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.genotype import Choice, Genotype
from supernet.spaces.base import SearchSpace

COLLAPSED, THIN = 1 / 4, 1 / 2  # largest share of edges at work with learned weights


@dataclass(frozen=True)
class Verdict:
    """A judgement on an architecture: one word, and the reason in words."""

    state: Literal["healthy", "thin", "collapsed"]
    reason: str

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}"


def judge(space: SearchSpace, genotype: Genotype) -> Verdict:
    """Judge every kind of cell and return the worst verdict."""
    verdicts = [_judge_cell(space, kind, genotype[kind]) for kind in space.cells]
    order = ("healthy", "thin", "collapsed")
    return max(verdicts, key=lambda verdict: order.index(verdict.state))


def working(space: SearchSpace, choices: tuple[Choice, ...]) -> list[Choice]:
    """Return the choices that lie on a path from the cell's input to its output."""
    carrying = [choice for choice in choices if not space.primitive(choice.op).zero]
    reached = {0}
    for choice in carrying:  # sorted by target, so that every source is settled before it is used
        if choice.source in reached:
            reached.add(choice.target)
    needed = {max(choice.target for choice in choices)}
    for choice in reversed(carrying):
        if choice.target in needed:
            needed.add(choice.source)
    return [choice for choice in carrying if choice.source in reached and choice.target in needed]


def _judge_cell(space: SearchSpace, kind: str, choices: tuple[Choice, ...]) -> Verdict:
    live = working(space, choices)
    learned = sum(space.primitive(choice.op).learned for choice in live)
    share = learned / len(choices)
    where = f"{learned} of the {len(choices)} edges of '{kind}'"
    if not live:
        return Verdict("collapsed", f"no path leads from the input to the output of '{kind}'")
    if share <= COLLAPSED:
        free = ", ".join(sorted({choice.op for choice in choices if not space.primitive(choice.op).learned}))
        few = where.replace("0 of", "none of", 1) if not learned else f"only {where}"
        others = f"are {free} or lead nowhere" if free else "lead nowhere"
        return Verdict("collapsed", f"{few} compute with learned weights; the others {others}")
    state: Literal["healthy", "thin"] = "thin" if share <= THIN else "healthy"
    return Verdict(state, f"{where} compute with learned weights on a path from input to output")
