"""The published selectors by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet import registry

if TYPE_CHECKING:
    from supernet.selectors.base import Selector  # noqa: F401  in a string below; a list needs no PyTorch

__all__ = ["SELECTORS", "Preset"]


@dataclass(frozen=True)
class Preset(registry.Preset["Selector"]):
    """A published rule that reads an architecture out of a search."""

    kind = "selector"
    base = "supernet.selectors.base:Selector"


_PERTURBATION = "supernet.selectors.perturbation:Perturbation"

SELECTORS = registry.Registry(
    (
        Preset(
            "magnitude",
            "supernet.selectors.magnitude:Magnitude",
            "the operation with the largest op score on every edge",
            "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055",
        ),
        Preset(
            "average",
            "supernet.selectors.average:Average",
            "the same, with op scores averaged over the last third of the epochs",
            "this project, 2026",
        ),
        Preset(
            "skip-limit",
            "supernet.selectors.skip_limit:SkipLimit",
            "by magnitude, with at most two skip connections in the normal cell",
            "Chen, Xie, Wu & Tian, ICCV 2019, arXiv 1904.12760",
        ),
        Preset(
            "threshold",
            "supernet.selectors.threshold:Threshold",
            "the best operations whose op scores are above a threshold, where nodes may keep fewer edges",
            "Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126",
        ),
        Preset(
            "perturbation",
            _PERTURBATION,
            "edge by edge the operation whose removal costs the most accuracy, with training in between",
            "Wang et al., ICLR 2021, arXiv 2108.04392",
        ),
        Preset(
            "perturbation-magnitude",
            _PERTURBATION,
            "edge by edge the operation with the largest op score, with training in between",
            "Wang et al., ICLR 2021, arXiv 2108.04392, ablation",
            {"criterion": "magnitude"},
        ),
        Preset(
            "best-of-samples",
            "supernet.selectors.best_of_samples:BestOfSamples",
            "the most accurate of some architectures in the supernet",
            "Li & Talwalkar, UAI 2019, arXiv 1902.07638",
        ),
        Preset(
            "evolution",
            "supernet.selectors.evolution:Evolution",
            "the fittest of architectures that evolve by their accuracy in the supernet",
            "Real et al., AAAI 2019, arXiv 1802.01548",
        ),
    )
)
