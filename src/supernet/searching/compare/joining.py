"""A comparison joined with another, and narrowed to fewer methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from supernet.errors import UserError, shown
from supernet.searching.compare.cases import RANDOM, names_of
from supernet.searching.compare.config import ComparisonConfig


def narrowed(config: ComparisonConfig, methods: Sequence[str]) -> ComparisonConfig:
    """Return a comparison of `methods` without the settings, axes and baseline that only the methods of `config` have.

    A name that neither have stays, and is an error later. Raises UserError for an unknown method or selector.
    """
    gone = names_of(config.methods, config) - names_of(methods, config)
    settings = {name: value for name, value in config.settings.items() if name not in gone}
    axes = {name: values for name, values in config.axes.items() if name not in gone}
    of = (config.baseline or "").partition(", ")[0]
    left_out = of in config.methods and of not in (*methods, RANDOM)
    baseline = None if left_out else config.baseline
    return replace(config, methods=list(methods), settings=settings, axes=axes, baseline=baseline)


def united(there: ComparisonConfig, now: ComparisonConfig, folder: os.PathLike[str]) -> ComparisonConfig:
    """Return a comparison with the methods, seeds, axes and settings of both.

    Raises UserError where other things differ, and where the settings of the one would change a search of the other, or
    a new axis would: its runs have other names, so that the table would lose the rows that are there.
    """
    together = there.settings | now.settings
    changed = _changed(there, together) | _changed(now, together)
    differing = [
        ("other data", there.data, now.data),
        (
            "other settings",
            *({name: one.settings[name] for name in one.settings if name in changed} for one in (there, now)),
        ),
        ("another recipe", there.retrain or now.retrain, now.retrain),
    ]
    for name, old, new in differing:
        if old != new:
            raise UserError(
                f"comparison '{os.fspath(folder)}' was made with {name} ({shown(old)} there, {shown(new)} "
                "now): give another place with --out"
            )
    if now.budget not in ("passes", there.budget):
        raise UserError(
            f"comparison '{os.fspath(folder)}' was made with budget {there.budget}, not {now.budget}: "
            "give another place with --out"
        )
    known = _known(there, together)
    if new := [name for name in now.axes if name in known and name not in there.axes]:
        raise UserError(
            f"comparison '{os.fspath(folder)}' was made without axis {new[0]}: give another place with --out"
        )
    axes = {name: _both(there.axes.get(name, []), now.axes.get(name, [])) for name in {**there.axes, **now.axes}}
    return replace(
        now,
        methods=_both(there.methods, now.methods),
        seeds=_both(there.seeds, now.seeds),
        axes=axes,
        settings=together,
        budget=there.budget,
        baseline=now.baseline or there.baseline,
        retrainings=max(there.retrainings, now.retrainings),
    )


def _changed(config: ComparisonConfig, settings: dict[str, Any]) -> set[str]:
    """Return the names of those `settings` that would change a search of `config`."""
    known = _known(config, settings)
    return {name for name in known & {*settings} if settings[name] != config.settings.get(name, ...)}


def _known(config: ComparisonConfig, settings: dict[str, Any]) -> set[str]:
    """Return the settings that a search or a selection of `config` has, with these `settings`."""
    return names_of([*config.methods, RANDOM], replace(config, settings=settings))


def _both(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Return the entries of both, each once, in their order."""
    found: list[Any] = []
    for entry in (*first, *second):
        if entry not in found:
            found.append(entry)
    return found
