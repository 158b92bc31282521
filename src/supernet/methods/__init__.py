"""The methods, by the name of what was published: an update rule and the settings that make it that method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet import presets

if TYPE_CHECKING:
    from supernet.methods.base import Method

__all__ = ["METHODS", "Preset", "method"]


@dataclass(frozen=True)
class Preset(presets.Preset["Method"]):
    """A method, and how an architecture is read out of what it learns if nothing else is asked for."""

    selector: str = "magnitude"

    @classmethod
    def kind(cls) -> str:
        """Return what a message calls it."""
        return "method"


_DIFFERENTIABLE = "supernet.methods.differentiable:Differentiable"
_DARTS = {
    "regime": "different_subset",
    "activation": "softmax",
    "alpha": {"optimizer": "adam", "lr": 3e-4, "weight_decay": 1e-3},
}

_ZERO_ORDER = "supernet.methods.zero_order:ZeroOrder"
_ZARTS = "Wang et al., NeurIPS 2022, arXiv 2110.04743"

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
            "darts-pt",
            _DIFFERENTIABLE,
            "DARTS, and then every operation chosen by what its absence costs the supernet",
            "Wang et al., ICLR 2021, arXiv 2108.04392",
            _DARTS,
            selector="perturbation",
        ),
        Preset(
            "blank",
            "supernet.methods.blank:Blank",
            "no alpha at all: all operations weigh the same, and perturbation chooses",
            "Wang et al., ICLR 2021, arXiv 2108.04392, section on fixed alpha",
            selector="perturbation",
        ),
        Preset(
            "zarts-mgs",
            _ZERO_ORDER,
            "alpha without a gradient through the weights: candidates by what real steps make of them",
            _ZARTS,
        ),
        Preset(
            "zarts-rs",
            _ZERO_ORDER,
            "the same, the gradient estimated from losses along random directions",
            _ZARTS,
            {"estimator": "rs"},
        ),
        Preset(
            "zarts-gld",
            _ZERO_ORDER,
            "the same, by the best of random steps of ever smaller length",
            _ZARTS,
            {"estimator": "gld", "base_loss": "with_inner"},
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
    return presets.named(which, METHODS, Preset)
