"""Retraining plan: the training of one architecture with every choice made, before anything is written or trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.data import Images, Source, hold_out, is_here, load, source_name
from supernet.data.augment import check_pixels
from supernet.engine.device import described, device_named
from supernet.engine.precision import Precision, precision_named
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import Cost, cost
from supernet.retraining.recipes import Recipe
from supernet.retraining.recipes import recipe as recipe_named
from supernet.settings import amend, check_kinds, check_seed
from supernet.spaces import NetworkSize, SearchSpace, space_again
from supernet.spaces import space as space_named
from supernet.spaces.genotype import Genotype, is_darts
from supernet.spaces.genotype_text import is_numbers

What = Run | str | os.PathLike[str] | Genotype  # a finished search or its folder, or an architecture


_NO_TEST_IMAGES = 0.2  # share of the training images that is kept aside where there is nothing else to measure on


@dataclass(frozen=True)
class RetrainingPlan:
    """A retraining with every choice made: what `start` needs."""

    source: str  # what the data was loaded from, as it was given
    images: Images
    parts: tuple[Tensor, Tensor]  # the training images that are trained on, and those that are held out, maybe none
    space: SearchSpace
    called: str  # the space as it was given: its name, or "module:NAME"
    genotype: Genotype
    price: Cost
    recipe_name: str
    recipe: Recipe  # no None left but the image size of images that are not square
    network_size: NetworkSize
    seed: int
    device: torch.device
    precision: Precision
    home: Path | None  # the folder of the search that found the architecture

    @property
    def measured_on(self) -> str:
        """The images that each epoch is measured on."""
        return "held out" if len(self.parts[1]) else "test"

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings as plain data: what a run folder keeps, and compares when it is entered again."""
        return {
            "task": "retrain",
            "data": self.images.name,
            "source": self.source,
            "fingerprint": self.images.fingerprint,
            "space": self.called,
            "space_hash": self.space.fingerprint(self.network_size),
            "architecture": str(self.genotype),
            "genotype": self.genotype.to_json(),
            "recipe": self.recipe_name,
            "protocol": asdict(self.recipe),
            "network_size": self.network_size.to_json(),
            "classes": list(self.images.classes),
            "mean": list(self.images.mean),
            "std": list(self.images.std),
            "mirror": self.images.mirror,
            "measured_on": self.measured_on,
            "seed": self.seed,
            "device": str(self.device),
            "precision": self.precision,
        }

    @property
    def running(self) -> str:
        """How it runs, in a line."""
        return f"running {self.precision}, on {described(self.device)}"

    @property
    def folder(self) -> Path:
        """Where the run goes when no place is given: into the search's folder, if there is one."""
        if self.home is not None:
            return self.home / f"{self.recipe_name}-{self.seed}"
        architecture = sha256(str(self.genotype).encode()).hexdigest()[:8]
        names = (Path(self.images.name).stem, self.space.name, self.recipe_name, str(self.seed), architecture)
        return Path("runs") / "-".join(names).lower()


def plan(
    what: What,
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    recipe: str | Recipe = "quick",
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    **changes: Any,
) -> RetrainingPlan:
    """Make every choice of a retraining; the arguments are those of `supernet.retrain`. Raises UserError."""
    check_kinds(what=(what, Run | str | os.PathLike | Genotype), space=(space, str | SearchSpace | None))
    check_kinds(recipe=(recipe, str | Recipe), seed=(seed, int), device=(device, str | torch.device))
    check_kinds(precision=(precision, str))
    check_seed(seed)
    name, start = (recipe, recipe_named(recipe)) if isinstance(recipe, str) else ("own", recipe)
    wanted = amend(start, changes)
    search = _search(what)
    architecture = _architecture(what, search)
    home, called = _space(architecture, search, space)
    genotype = home.parse(architecture) if isinstance(architecture, str) else home.check(architecture)
    where = device_named(device)
    images, source = _images(search, data, wanted.image_size)
    resolved, network_size = _resolved(wanted, images, home)
    return RetrainingPlan(
        source=source,
        images=images,
        parts=_parts(images.y, resolved.hold_out),
        space=home,
        called=called,
        genotype=genotype,
        price=cost(home, genotype, network_size),
        recipe_name=name,
        recipe=resolved,
        network_size=network_size,
        seed=seed,
        device=where,
        precision=precision_named(precision, where),
        home=None if search is None else search.path,
    )


def _search(what: What) -> Run | None:
    """Return the finished search that `what` is or names, None if it is an architecture."""
    if isinstance(what, Genotype) or (isinstance(what, str) and _is_architecture(what)):
        return None
    run = what if isinstance(what, Run) else Run(what)
    config = run.config
    if "fingerprint" not in config:
        raise UserError(f"'{run.path}' is no run folder: give that of a finished search, or an architecture in quotes")
    if config.get("task") == "retrain":
        raise UserError(f"run '{run.path}' is a retraining: give the folder of a search, or an architecture in quotes")
    return run


def _is_architecture(text: str) -> bool:
    """Return whether a text means to be an architecture; a single number is the name of a folder."""
    return "|" in text or is_darts(text) or (len(text.split()) > 1 and is_numbers(text))


def _architecture(what: What, search: Run | None) -> Genotype | str:
    if search is not None:
        return search.genotype
    return what if isinstance(what, Genotype) else str(what).strip()


def _space(
    architecture: Genotype | str, search: Run | None, given: str | SearchSpace | None
) -> tuple[SearchSpace, str]:
    """Return the space that was given, or else the architecture's own, and the name that finds it again."""
    if isinstance(given, SearchSpace):
        return given, given.name
    if given is not None:
        return space_named(given), given
    name = _space_name(architecture) if search is None else str(search.config["space"])
    return space_again(name), name


def _space_name(architecture: Genotype | str) -> str:
    if isinstance(architecture, Genotype):
        return architecture.space
    if is_darts(architecture):
        return "darts"
    if architecture.startswith("|"):
        return "nasbench201"
    raise UserError(f"architecture '{architecture}' does not say what space it is of: give it, too, with --space")


def _images(search: Run | None, data: Source | None, size: int | None) -> tuple[Images, str]:
    """Return the images that were given, or else those of the search, and where they come from."""
    if data is not None:
        return load(data, size), source_name(data)
    if search is None:
        raise UserError("an architecture needs images to train on: give them with --data, or data= in Python")
    config = search.config
    source = str(config["source"])
    if not is_here(source):
        raise UserError(
            f"run '{search.path}' was searched on '{source}', which is not here: "
            "give the images with --data, or data= in Python"
        )
    images = load(source, size)
    _check_classes(search, config, images)
    return images, source


def _check_classes(search: Run, config: Mapping[str, Any], images: Images) -> None:
    known = config.get("classes", list(images.classes))
    if known != list(images.classes):
        raise UserError(
            f"'{config['source']}' has other classes than when run '{search.path}' was searched on it: "
            f"{', '.join(images.classes)}, not {', '.join(known)}; give the images with --data, or data= in Python"
        )


def _parts(y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the images to train on and of those to hold out."""
    every = torch.arange(len(y))
    return hold_out(y, share) if share else (every, every[:0])


def _resolved(recipe: Recipe, images: Images, home: SearchSpace) -> tuple[Recipe, NetworkSize]:
    """Return the recipe with its None fields filled in as these images and this space have it, and its network_size."""
    height, across = images.x.shape[2:]
    size = (recipe.crop, recipe.crop) if recipe.crop else (height, across)
    check_pixels(min(size), pad=recipe.pad, cutout=recipe.cutout)
    width, depth = recipe.width or home.target[0], recipe.depth or home.target[1]
    network_size = NetworkSize(
        width, depth, size, images.x.shape[1], len(images.classes), recipe.stem, recipe.reductions
    )
    halving = [placed for placed in home.layout(network_size) if getattr(placed.layer, "stride", 1) == 2]
    network_size = replace(network_size, stem=network_size.halvings, reductions=len(halving))
    resolved = replace(
        recipe,
        width=width,
        depth=depth,
        image_size=height if height == across else None,  # None keeps what is not square as it is
        pad=_pad(recipe, min(size)),
        mirror=images.mirror if recipe.mirror is None else recipe.mirror,
        hold_out=recipe.hold_out or (_NO_TEST_IMAGES if images.x_test is None else 0.0),
        stem=network_size.stem,
        reductions=network_size.reductions,
    )
    return resolved, network_size


def _pad(recipe: Recipe, side: int) -> int:
    if recipe.pad is None:
        return 0 if recipe.crop else side // 8
    return recipe.pad
