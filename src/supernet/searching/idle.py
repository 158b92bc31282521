"""Settings of a search that have no effect beside others: which they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from supernet.engine.folder import flat
from supernet.engine.idle import OF_SPLITS, Rule, without_effect
from supernet.searching.config import PROTOCOLS, SearchConfig, by_flag, config_of, configured
from supernet.selectors import Preset
from supernet.settings import plain

_OF_MGS = ("sigma", "sigma_schedule", "tau", "lam", "importance", "proposal")
_OF_INNER = ("inner_batch", "inner_split")
_OF_RS = ("form", "direction", "delta", "lr")
_OF_SELECTORS: Sequence[Rule] = [("prior_share", "prior", (None,))]
_IDLE: Sequence[Rule] = [
    ("sigmoid_init", "activation", ("softmax",)),
    ("alpha.beta1", "alpha.optimizer", ("sgd",)),
    *((f"select.{name}", f"select.{other}", values) for name, other, values in _OF_SELECTORS),
    *((name, "estimator", ("rs", "gld")) for name in _OF_MGS),
    *((name, "estimator", ("mgs", "gld")) for name in _OF_RS),
    ("samples", "estimator", ("gld",)),
    ("radius", "estimator", ("mgs", "rs")),
    ("base_loss", "estimator", ("mgs",)),
    *((name, "inner_opt", ("released",)) for name in _OF_INNER),
    ("stable", "criterion", ("skips",)),
    ("skips", "criterion", ("ranking",)),
    ("final_epochs", "final", (0,)),
    ("zero_one", "zero_one_weight", (0,)),
    ("cutout_probability", "cutout", (0,)),
]

_OF_IMPORTANCE: Sequence[Rule] = [
    *((name, "importance", ("gradient",)) for name in ("samples", "sigma", "sigma_schedule", "lam", "proposal")),
    *((name, "importance", ("uniform", "gradient")) for name in ("tau", *_OF_INNER, "inner_opt")),
]


def idle(config: SearchConfig, validation: int) -> Iterator[str]:
    """Yield a line for each setting that has no effect, unless it is as the method and the selector have it anyway.

    `validation` is the number of images that the source itself keeps for validation.
    """
    now, usual = by_flag(config), by_flag(configured(method=config.method, selector=config.selector))
    published = {name: {getattr(protocol, name) for protocol in PROTOCOLS.values()} for name in OF_SPLITS}
    usual |= {name: now[name] for name, values in published.items() if now[name] in values}
    rules = [*_IDLE, *(_OF_IMPORTANCE if now.get("estimator") == "mgs" else ())]
    yield from without_effect(now, usual, rules, validation=validation)
    if config.patience is not None and config.patience >= config.epochs:
        yield f"setting patience {config.patience} has no effect with epochs {config.epochs}"


def idle_in_selection(preset: Preset, config: Any) -> Iterator[str]:
    """Yield a line for each setting of a selector that has no effect, unless it is as the selector has it anyway."""
    yield from without_effect(flat(plain(config)), flat(plain(config_of(preset))), _OF_SELECTORS)
