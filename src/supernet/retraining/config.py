"""The configuration of a retraining: a recipe, the data and the space, in one typed object."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY
from typing import Annotated, Any, Literal, NotRequired

import torch
from pydantic import Field
from typing_extensions import TypedDict

from supernet.data import SOURCE_TYPES, SOURCE_WORDS, Source, source_name
from supernet.engine.driving import Driving
from supernet.engine.precision import Precision
from supernet.engine.records import GenotypeRecord, Record
from supernet.engine.run import Run
from supernet.models.cost.limits import counted
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.settings import (
    Count,
    OfType,
    Positive,
    Seed,
    Share,
    Whole,
    amend,
    plain_values,
    preset_named,
    settings,
    values_of,
)
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

Target = Run | str | os.PathLike[str] | Genotype
"""An architecture: a finished search or its folder, a Genotype, or the text or a file of one."""


@settings
class RetrainConfig(Recipe):
    """Every setting of a retraining. `configured` builds one from a recipe by name."""

    what: Annotated[Target, OfType(Run, str, os.PathLike, Genotype)]
    """folder of a finished search, or an architecture: in quotes, as a file, an index or a name"""
    _: KW_ONLY
    data: Annotated[Source | None, OfType(*SOURCE_TYPES, type(None), right=SOURCE_WORDS)] = None
    """images to train on; None is the search's"""
    space: Annotated[str | SearchSpace | None, OfType(str, SearchSpace, type(None))] = None
    """space; None is the search's or the architecture's own"""
    params: Annotated[int | str | None, counted("params")] = None
    """learnable parameters that the network's width is chosen for, to the nearest, as 500k"""
    flops: Annotated[int | str | None, counted("flops")] = None
    """multiply-adds for one image that the network's width is chosen for, to the nearest, as 30M"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of naming them all and stopping"""
    stream: bool = False
    """leave images on the disk and decode them in each pass, also those that would fit into memory"""
    seed: Seed = 0
    """seed of everything drawn"""
    device: Annotated[str | torch.device, OfType(str, torch.device)] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", Precision] = "auto"
    """number format of the big operations; auto is TF32 on a GPU that has it, float32 elsewhere"""

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe's fields, data, seed, device and precision as plain data, of a plan with the width."""
        plain = plain_values(self, RetrainConfig, {"what": None, "space": None})
        del plain["what"], plain["space"], plain["params"], plain["flops"]
        return plain | {"data": source_name(self.data) if self.data is not None else None, "device": str(self.device)}


@settings
class RetrainCall(RetrainConfig, Driving):
    """The arguments of `supernet retrain` and `supernet.retrain`: a configuration, and how the run is driven."""

    _: KW_ONLY
    recipe: Annotated[str | Recipe, OfType(str, Recipe)] = "quick"
    """recipe, a name or in Python a Recipe: the start of all settings that are not given"""


def configured(what: Target, recipe: str | Recipe = "quick", **given: Any) -> RetrainConfig:
    """Return the whole configuration of a retraining: the recipe's values and `given`, fields of RetrainConfig.

    Raises UserError for an unknown name or a wrong value.
    """
    base = values_of(preset_named("recipe", recipe, RECIPES), Recipe)
    return amend(RetrainConfig(what=what, **base), given)


class SizeRecord(TypedDict):
    """A network size, as `NetworkSize.to_json` writes it."""

    width: Count
    depth: Count
    image_size: tuple[Count, Count]
    channels: Count
    classes: Count
    stem: Whole
    reductions: Whole


class RetrainRecord(Record):
    """The settings of a retraining, config.yaml: what is needed to use its network."""

    task: Literal["retrain"]  # type: ignore[misc]
    genotype: GenotypeRecord
    network_size: SizeRecord
    image_size: Count | None
    image_sides: NotRequired[tuple[Count, Count]]  # height and width where a crop of them does not tell
    first_label: NotRequired[Whole]  # where labels of named classes are not from 0 on
    crop: Whole
    validation_share: Share
    mean: list[float]
    std: list[Positive]
    levels: Annotated[list[int], Field(min_length=2, max_length=2)] | None
    skip_broken: bool
    stream: bool


def recorded(run: Run) -> RetrainRecord:
    """Return the settings of a retraining in a run folder; raises UserError if they are damaged."""
    config: RetrainRecord = run.config_as(RetrainRecord)
    return config
