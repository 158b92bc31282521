"""Sizes, durations, accuracies, paths and architectures as short texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LONG, _SHORT = 110, 100  # architectures of more characters than _LONG are abbreviated to at most _SHORT
_OPS = re.compile(r"([^|~+\s]+)~[0-9]+\||\(\s*['\"]([^'\"]+)['\"]\s*,")  # as in |op~source| and in ('op', source)


def size(count: int) -> str:
    """Return a number of bytes as text: 1.5 GB."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Return a duration as text: 35 ms, 4.2 s, 12 min 05 s, 3 h 20 min."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def number(count: int, noun: str) -> str:
    """Return a number with what is counted as text: 1 epoch, 40 epochs."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def accuracy(measured: Mapping[str, Any]) -> str:
    """Return the accuracy that a search ended with as text: 98.93 % of the supernet, on 750 validation images."""
    of = {"path": "of the architecture in the supernet", "alone": "of the architecture, trained alone"}
    whose = of.get(measured.get("of", ""), "of the supernet")
    return f"{100 * measured['accuracy']:.2f} % {whose}, on {measured['count']} {measured['images']} images"


def as_argument(path: str | Path) -> str:
    """Return a path as a command takes it: one that begins with a dash would be an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def short_architecture(text: str) -> str:
    """Return an architecture's text for a line of progress; a long one as the counts of its operations.

    The most frequent operations come first; the rarest are counted together if the line would be too long.
    """
    counts = Counter("".join(names) for names in _OPS.findall(text))
    if len(text) <= _LONG or not counts:
        return text
    parts = [f"{count} {op}" for op, count in counts.most_common()]
    kept, rest = len(parts), ""
    while kept and len(", ".join(parts[:kept]) + rest) > _SHORT:
        kept -= 1
        rest = f", {sum(count for _, count in counts.most_common()[kept:])} others"
    return ", ".join(parts[:kept]) + rest if kept else f"{counts.total()} operations"
