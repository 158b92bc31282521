"""The selectors: from a supernet and what was learned to one architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet import registry as presets

if TYPE_CHECKING:
    from supernet.selectors.base import Selector

__all__ = ["SELECTORS", "Preset", "selector"]


@dataclass(frozen=True)
class Preset(presets.Preset["Selector"]):
    """A rule that was published for reading an architecture out of a run."""

    @classmethod
    def kind(cls) -> str:
        """Return what a message calls it."""
        return "selector"


_PERTURBATION = "supernet.selectors.perturbation:Perturbation"

SELECTORS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "magnitude",
            "supernet.selectors.magnitude:Magnitude",
            "the operation with the largest weight on every edge",
            "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055",
        ),
        Preset(
            "perturbation",
            _PERTURBATION,
            "edge by edge the operation whose absence costs the most accuracy, trained in between",
            "Wang et al., ICLR 2021, arXiv 2108.04392",
        ),
        Preset(
            "perturbation-magnitude",
            _PERTURBATION,
            "edge by edge the operation with the largest weight, trained in between",
            "Wang et al., ICLR 2021, arXiv 2108.04392, ablation",
            {"criterion": "magnitude"},
        ),
        Preset(
            "best-of-samples",
            "supernet.selectors.best_of_samples:BestOfSamples",
            "of some architectures, the one that the supernet runs best",
            "Li & Talwalkar, UAI 2019, arXiv 1902.07638",
        ),
    )
}


def selector(which: str | type[Selector]) -> Preset:
    """Return the selector of that name, or your own: the class, or "module:Class".

    Raises UserError if there is none of that name.
    """
    return presets.named(which, SELECTORS, Preset)
