"""The methods, by the name of what was published: an update rule and the settings that make it that method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from supernet.errors import imported, unknown

if TYPE_CHECKING:
    from supernet.methods.base import Method

__all__ = ["METHODS", "Preset", "method"]


@dataclass(frozen=True)
class Preset:
    """A method: the class that does it, and the settings it starts from.

    `target` is the class, or "module:Class", which is imported when it is used.
    `settings` may be nested: {"alpha": {"lr": 3e-4}} changes that field of `alpha` alone.
    """

    name: str
    target: str | type[Method]
    summary: str
    paper: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    selector: str = "magnitude"

    def load(self) -> type[Method]:
        """Return the class, imported if need be; raises UserError if there is no such class."""
        if not isinstance(self.target, str):
            return self.target
        found: type[Method] = imported("method", self.target)
        return found


_DIFFERENTIABLE = "supernet.methods.differentiable:Differentiable"
_DARTS = {
    "regime": "different_subset",
    "activation": "softmax",
    "alpha": {"optimizer": "adam", "lr": 3e-4, "weight_decay": 1e-3},
}

METHODS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "single-darts",
            _DIFFERENTIABLE,
            "weights and alpha from the same batch, one backward pass; sigmoid",
            "Hou, Jin & Chen 2021, arXiv 2108.08128",
        ),
        Preset(
            "darts",
            _DIFFERENTIABLE,
            "bi-level, first order: alpha from the other half of the images; softmax",
            "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055",
            _DARTS,
        ),
        Preset(
            "darts-2nd",
            _DIFFERENTIABLE,
            "bi-level, second order: alpha through one unrolled step of the weights",
            "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055",
            _DARTS | {"order": 2},
        ),
        Preset(
            "random",
            "supernet.methods.random_search:RandomSearch",
            "random architectures, each trained alone for a few epochs; the best is kept",
            "Li & Talwalkar, UAI 2019, arXiv 1902.07638",
        ),
    )
}


def method(which: str | type[Method]) -> Preset:
    """Return the method of that published name, or your own: the class, or "module:Class".

    Raises UserError if there is none of that name.
    """
    if not isinstance(which, str):
        return Preset(f"{which.__module__}:{which.__qualname__}", which, "your own", "")
    if which in METHODS:
        return METHODS[which]
    if ":" in which:
        return Preset(which, which, "your own", "")
    raise unknown("method", which, METHODS)
