"""Settings of a search that have no effect beside others: they are told, not refused.

A comparison gives one setting to searches of which some have a use for it, and a search may go on for more epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from supernet.searching.config import SearchConfig, by_flag, configured

_OF_MGS = ("sigma", "sigma_schedule", "tau", "lam", "importance", "proposal")
_OF_RS = ("form", "direction", "delta", "lr")

# A setting, another, and the values of that one with which the first has no effect.
_IDLE: list[tuple[str, str, tuple[Any, ...]]] = [
    ("sigmoid_init", "activation", ("softmax",)),
    ("alpha.beta1", "alpha.optimizer", ("sgd",)),
    ("w.gamma", "w.schedule", ("cosine", "linear")),
    ("select.prior_share", "select.prior", (None,)),
    *((name, "estimator", ("rs", "gld")) for name in _OF_MGS),
    *((name, "estimator", ("mgs", "gld")) for name in _OF_RS),
    ("samples", "estimator", ("gld",)),
    ("radius", "estimator", ("mgs", "rs")),
]


def idle(config: SearchConfig) -> Iterator[str]:
    """Yield a line for each setting that has no effect, unless it is as the method and the selector have it anyway."""
    now, usual = by_flag(config), by_flag(configured(method=config.method, selector=config.selector))
    for name, other, values in _IDLE:
        if name in now and other in now and now[other] in values and now[name] != usual[name]:
            yield f"setting {name} {now[name]} has no effect with {other} {str(now[other]).lower()}"
    if config.patience is not None and config.patience > config.epochs:
        yield f"setting patience {config.patience} has no effect with epochs {config.epochs}"
