"""Settings that have no effect beside others, or beside the images: they are told, not refused.

A comparison gives one setting to runs of which some have a use for it, and a run may go on for more epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Rule = tuple[str, str, tuple[Any, ...]]
"""A setting, another, and the values of that one with which the first has no effect."""

_OF_WEIGHTS: Sequence[Rule] = [("w.gamma", "w.schedule", ("cosine", "linear"))]
OF_SPLITS = ("split", "validation_share")


def without_effect(
    now: Mapping[str, Any], usual: Mapping[str, Any], rules: Sequence[Rule] = (), *, validation: int = 0
) -> Iterator[str]:
    """Yield a line for each setting that has no effect, unless it is as the run would have it anyway.

    Settings are by the names of their flags: those of `now`, and `usual` ones. `validation` is the number of images
    that the source itself keeps for validation.
    """
    for name, other, values in [*rules, *_OF_WEIGHTS]:
        if name in now and other in now and now[other] in values and now[name] != usual[name]:
            yield f"setting {name} {now[name]} has no effect with {other} {str(now[other]).lower()}"
    for name in OF_SPLITS if validation else ():
        if name in now and now[name] != usual[name]:
            yield f"setting {name} {now[name]} has no effect: the images for validation are given"
