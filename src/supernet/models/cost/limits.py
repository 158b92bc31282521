"""Limits on the cost of an architecture's network, as the user gave them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from pydantic import PlainValidator

from supernet.errors import UserError

MEASURED = "measured"
_FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9}


@dataclass(frozen=True)
class Limits:
    """The highest costs that an architecture may have; None is no limit.

    - `max_params` and `max_flops`: learnable parameters, and FLOPs for one image.
    - `max_latency_ms`: milliseconds for one image; `latency` is "measured" or a field of the space's table.

    Raises UserError for a limit that is not above 0, and for a field of the table without `max_latency_ms`.
    """

    max_params: int | None = None
    max_flops: int | None = None
    max_latency_ms: float | None = None
    latency: str = MEASURED

    def __post_init__(self) -> None:
        for name, value in (("max_params", self.max_params), ("max_flops", self.max_flops)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        if self.max_latency_ms is not None and not 0 < self.max_latency_ms < math.inf:
            raise UserError(f"max_latency_ms must be above 0, not {self.max_latency_ms}")
        if self.max_latency_ms is None and self.latency != MEASURED:
            raise UserError(f"latency '{self.latency}' limits nothing without max_latency_ms: give it, too")

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.max_params, self.max_flops, self.max_latency_ms))

    def __str__(self) -> str:
        parts = [
            None if self.max_params is None else f"at most {self.max_params:,} parameters",
            None if self.max_flops is None else f"at most {self.max_flops:,} FLOPs",
            None if self.max_latency_ms is None else f"at most {self.max_latency_ms:g} ms ({self.latency})",
        ]
        return ", ".join(part for part in parts if part) or "none"


def parse_count(name: str, value: str | float | None) -> int | None:
    """Return the number in a setting such as 1500000, "1.5M", "300k" or "2G"; raises UserError for anything else."""
    if value is None:
        return None
    text = str(value).strip().lower()
    factor = _FACTORS.get(text[-1:], 1.0)
    try:
        number = round(float(text if factor == 1 else text[:-1]) * factor)
    except (ValueError, OverflowError):  # not a number, or infinite or NaN
        number = 0
    if number < 1:
        raise UserError(f"{name} takes a number above 0, such as 1500000, 1.5M or 300k, not '{value}'")
    return number


def counted(name: str) -> PlainValidator:
    """Return the check of a setting that takes such a number."""
    return PlainValidator(partial(parse_count, name))
