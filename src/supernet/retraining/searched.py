"""What a search passes on to a retraining: its architecture, the size of the network it was for, and its limits."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch

from supernet.data import Images, Source, is_available, same_source, source_name, take
from supernet.engine.records import Record
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import MEASURED, Limits
from supernet.models.cost.module import Cost
from supernet.retraining.config import RetrainConfig, Target
from supernet.settings import Count, Whole, amend
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.dialects import form_of
from supernet.spaces.genotype import Genotype
from supernet.spaces.known import meant


class SearchRecord(Record):
    """The settings of a search or a selection, config.yaml: what a retraining takes over."""

    task: Literal["search", "select"]  # type: ignore[misc]
    images: Count | None
    image_size: Count | None
    stem: Whole | None
    reductions: Whole | None
    mirror: bool
    skip_broken: bool
    stream: bool


def recorded(search: Run) -> SearchRecord:
    """Return the settings of a search; raises UserError if they are damaged."""
    config: SearchRecord = search.config_as(SearchRecord)
    return config


def search_of(what: Target) -> Run | None:
    """Return the search that `what` is or names, None for an architecture; raises UserError for any other run."""
    if isinstance(what, Genotype) or (isinstance(what, str | os.PathLike) and _is_architecture(what)):
        return None
    run = Run.of(what)
    if run.task is None:
        right = f"{meant(str(what))}give that of a finished search, or an architecture in quotes"
        raise run.is_none(right=right)
    if run.task == "retrain":
        raise UserError(f"run '{run.path}' is a retraining: give the folder of a search, or an architecture in quotes")
    return run


def _is_architecture(what: str | os.PathLike[str]) -> bool:
    """Return whether a file or a text looks like an architecture; a folder goes before a text of its name."""
    with suppress(OSError, ValueError):  # a name that no file can have
        if Path(what).exists():
            return Path(what).is_file()
    return form_of(str(what)) is not None


def is_own(search: Run, data: Source | None) -> bool | None:
    """Return whether images, by default the search's, are those of the search; None if only reading them tells.

    That is so of arrays and of a Dataset, and of a path where that of the search is gone: they may have moved.
    """
    there = recorded(search)["data"]
    if data is None:
        return True
    if isinstance(data, str | os.PathLike):
        return same_source(source_name(data), there) or (False if is_available(there) else None)
    return None if source_name(data) == there else False


def are_own(search: Run, images: Images, image_size: int | None) -> bool:
    """Return whether images that were read are those of the search, by their pixels.

    Whether their classes are, if they were read at another size, or if only the ones or the others were streamed.
    """
    searched = recorded(search)
    if image_size != searched["image_size"] or images.streamed != searched["stream"]:
        return list(images.classes) == searched["classes"]
    with suppress(UserError):  # fewer images than the search took
        return take(images, searched["images"]).fingerprint == searched["fingerprint"]
    return False


def sized(
    config: RetrainConfig, search: Run, space: SearchSpace, given: Collection[str], *, own: bool
) -> RetrainConfig:
    """Return the configuration with what the search decides on; `given` names the settings of the user.

    `own` tells whether the images are the search's.

    The search decides on width and depth before the recipe if it was for other ones than the space's own, or had
    limits or targets. It decides on the image size and the halvings of its own images, and with these of any images,
    where neither the user nor the recipe names an image size; and on whether its own images may be mirrored.
    """
    searched, target = recorded(search), search.summary["target"]
    limited = bool(_limits(search) or search.summary.get("targets"))
    taken: dict[str, Any] = {}
    if limited or (target["width"], target["depth"]) != space.target:
        taken |= target
    if own:
        taken |= {"mirror": searched["mirror"]}
    if (own or limited) and config.image_size in (None, searched["image_size"]):
        taken |= {"image_size": searched["image_size"], "stem": searched["stem"], "reductions": searched["reductions"]}
    firm = {name for name in taken if name in given or name not in ("width", "depth")}  # before the search's, if named
    open_ones = {name for name in taken if name not in firm or getattr(config, name) is None}
    return amend(config, {name: taken[name] for name in open_ones})


def broken_limits(
    search: Run, space: SearchSpace, genotype: Genotype, network_size: NetworkSize, price: Cost, device: torch.device
) -> str | None:
    """Return one line on the limits of the search that a network breaks, None for a network within them."""
    limits, promised = _limits(search), search.summary
    found = [
        f"{has:,} {unit} are above {most:,}"
        for has, most, unit in (
            (price.params, limits.max_params, "parameters"),
            (price.flops, limits.max_flops, "FLOPs"),
        )
        if most is not None and has > most
    ]
    other_size = (price.params, price.flops) != (promised["params"], promised["flops"])
    if limits.max_latency_ms is not None and limits.latency == MEASURED and other_size:
        ms = MeasuredLatency(space, network_size, device).ms(genotype)
        found += [f"{ms:.3g} ms are above {limits.max_latency_ms:g}"] * (ms > limits.max_latency_ms)
    size = f"{network_size.width} channels, depth {network_size.depth}, images of {_pixels(network_size)} pixels"
    return f"this network ({size}) breaks limits of the search: {'; '.join(found)}" if found else None


def _limits(search: Run) -> Limits:
    return Limits(**search.summary["limits"] or {})


def _pixels(network_size: NetworkSize) -> str:
    return "x".join(map(str, network_size.image_size))
