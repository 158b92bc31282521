"""The plan of a retraining: its configuration with every choice made, before anything is written or trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.data import Images, hold_out, is_available, load, source_name
from supernet.data.augment import check_pixels
from supernet.engine.device import described, device_named
from supernet.engine.folder import default_folder, flat
from supernet.engine.idle import without_effect
from supernet.engine.precision import Precision, precision_named
from supernet.engine.process_group import count
from supernet.engine.run import FORMAT, Run
from supernet.errors import UserError
from supernet.models.cost.count import auxiliary_cost, check_batch_norm, cost
from supernet.models.cost.memory import TRAINED, check_memory
from supernet.models.cost.module import Cost
from supernet.models.cost.scaling import UNITS, with_cost
from supernet.retraining.config import RetrainConfig, Target, configured
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.retraining.searched import SearchRecord, are_own, broken_limits, is_own, recorded, search_of, sized
from supernet.spaces import NetworkSize, SearchSpace, architecture, recorded_space
from supernet.spaces.genotype import Genotype

_NO_TEST_IMAGES = 0.2  # validation share where neither recipe nor source has images to measure on


@dataclass(frozen=True)
class RetrainingPlan:
    """A retraining with every choice made; in its `config` no None is left to be filled in from images or space.

    But for `image_size`, which stays None where images are not square, and `params` and `flops`, which have chosen the
    width.

    - `parts`: the indices of the training and of the validation images, maybe none.
    - `space_name`: the name that leads back to the space, a published one or "module:NAME".
    - `search`: the folder of the search that found the architecture, if there is one.
    - `broken`: a line on the limits of the search that the network breaks, if it breaks any.
    - `idle`: a line for each setting that has no effect, of a plan for one architecture alone.
    """

    config: RetrainConfig
    recipe: str
    images: Images
    parts: tuple[Tensor, Tensor]
    space: SearchSpace
    space_name: str
    genotype: Genotype
    price: Cost
    network_size: NetworkSize
    device: torch.device
    precision: Precision
    search: Path | None
    broken: str | None
    idle: Sequence[str] = ()

    @property
    def seed(self) -> int:
        """The seed of everything drawn."""
        return self.config.seed

    @property
    def measured_on(self) -> str:
        """The images on which each epoch is measured."""
        return "validation" if len(self.parts[1]) else "test"

    @property
    def record(self) -> dict[str, Any]:
        """The configuration as plain data, with architecture, network size and images: what a run folder keeps."""
        return self.config.to_dict() | {
            "format": FORMAT,
            "task": "retrain",
            "recipe": self.recipe,
            "data_name": self.images.name,
            "fingerprint": self.images.fingerprint,
            "classes": list(self.images.classes),
            "mean": list(self.images.mean),
            "std": list(self.images.std),
            "levels": self.images.levels and list(self.images.levels),
            "space": self.space_name,
            "space_hash": self.space.fingerprint(self.network_size),
            "architecture": str(self.genotype),
            "genotype": self.genotype.to_json(),
            "network_size": self.network_size.to_json(),
            "measured_on": self.measured_on,
            **self._image_sides,
            **({"first_label": self.images.first_label} if self.images.first_label else {}),
        }

    @property
    def _image_sides(self) -> dict[str, list[int]]:
        cut = self.config.crop and self.config.image_size is None
        return {"image_sides": [*self.images.x.shape[2:]]} if cut else {}

    @property
    def reading(self) -> str:
        """The images, in one line."""
        return f"read {self.images.described(len(self.parts[1]))}"

    @property
    def kernels(self) -> None:
        """None: a plain network is run by PyTorch alone."""

    @property
    def fixed_epochs(self) -> str:
        """Empty: every recipe can go on for more epochs."""
        return ""

    @property
    def usual(self) -> dict[str, Any]:
        """The recipe's settings by the names of their flags; where it is the user's own, those of any Recipe."""
        return flat(configured("", self.recipe if self.recipe in RECIPES else Recipe()).to_dict())

    @property
    def own(self) -> dict[str, Any]:
        """The settings that are not `usual`, by the names of their flags."""
        usual = self.usual
        return {name: value for name, value in flat(self.config.to_dict()).items() if value != usual[name]}

    @property
    def running(self) -> str:
        """The number format and the device, in one line."""
        return f"running {self.precision}, on {described(self.device)}"

    @property
    def folder(self) -> Path:
        """The default run folder: in the search's folder, if there is one."""
        if self.search is not None:
            return self.search / f"{self.recipe}-{self.seed}"
        architecture = sha256(str(self.genotype).encode()).hexdigest()[:8]
        return default_folder(self.images.name, self.space.name, self.recipe, str(self.seed), architecture)


def plan(
    config: RetrainConfig, recipe: str = "own", given: Collection[str] = (), streamed: bool | None = None
) -> RetrainingPlan:
    """Load the images and make every choice that is left open. Raises UserError.

    `recipe` names the recipe, and `given` the settings that the user gave, which no search changes. `streamed` says
    whether the images stay on the disk where `config` does not ask for it; None decides by memory, and by the search.
    """
    for name in _wanted(config):  # raises before the images are read, which takes longer
        if "width" in given and config.width is not None:
            raise UserError(f"give width or {name}, not both: {name} chooses the width")
    search = search_of(config.what)
    architecture = _architecture(config.what, search, config.space)
    device_named(str(config.device))  # raises before the images are read, which takes longer
    found = on(*_read(config, search, architecture[0], given, streamed), architecture, recipe, search)
    lines = without_effect(flat(found.config.to_dict()), found.usual, validation=found.images.validation)
    return replace(found, idle=tuple(lines))


def _read(
    config: RetrainConfig, search: Run | None, space: SearchSpace, given: Collection[str], streamed: bool | None
) -> tuple[Images, RetrainConfig]:
    """Return the images, and the configuration with what a search that was on the same ones says."""
    if search is None:
        return _images(config, None, streamed)
    own = is_own(search, config.data)
    found = _images(sized(config, search, space, given, own=own is not False), search, streamed)
    if own is None and not are_own(search, found[0], found[1].image_size):
        found = _images(sized(config, search, space, given, own=False), search, streamed)
    return found


def on(
    images: Images,
    config: RetrainConfig,
    architecture: tuple[SearchSpace, str, Genotype],
    recipe: str = "own",
    search: Run | None = None,
) -> RetrainingPlan:
    """Make every choice that is left open, for images that are loaded and an architecture. Raises UserError.

    The `architecture` is given with its space and the name that leads back to the space.
    """
    space, space_name, genotype = architecture
    device = device_named(str(config.device))
    precision = precision_named(config.precision, device)
    resolved, network_size = _resolved(config, images, space, genotype)
    resolved = replace(resolved, device=str(device), precision=precision)
    parts = images.given_parts or _parts(images.y, resolved.validation_share)
    batch = min(resolved.batch_size, len(parts[0]))
    copies = TRAINED + (resolved.ema > 0)
    check_memory(space, network_size, device, genotype=genotype, images=-(-batch // count()), copies=copies)
    check_memory(space, network_size, genotype=genotype, together=False)
    price = cost(space, genotype, network_size)
    auxiliary = auxiliary_cost(space, network_size, genotype) if resolved.auxiliary else Cost()
    check_batch_norm(price + auxiliary, batch if resolved.norm_shared else batch // count())
    return RetrainingPlan(
        config=resolved,
        recipe=recipe,
        images=images,
        parts=parts,
        space=space,
        space_name=space_name,
        genotype=genotype,
        price=price,
        network_size=network_size,
        device=device,
        precision=precision,
        search=None if search is None else search.path,
        broken=None if search is None else broken_limits(search, space, genotype, network_size, price, device),
    )


def planned(what: Target, recipe: str | Recipe = "quick", **settings: Any) -> RetrainingPlan:
    """Return the plan of a retraining with these settings, the arguments of `configured`. Raises UserError."""
    return planner(what, recipe, **settings)(None)


def planner(what: Target, recipe: str | Recipe = "quick", **settings: Any) -> Callable[[bool | None], RetrainingPlan]:
    """Return `plan` with these settings, which lacks only `streamed`. Raises UserError."""
    name = recipe if isinstance(recipe, str) else "own"
    config = configured(what, recipe, **settings)
    return lambda streamed: plan(config, name, settings, streamed)


def _architecture(
    what: Target, search: Run | None, given: str | SearchSpace | None
) -> tuple[SearchSpace, str, Genotype]:
    """Return the given space, by default the architecture's own, the name that leads back to it, and the genotype."""
    within = given if given is not None or search is None else recorded_space(search.config["space"])
    found = what if search is None else search.genotype
    assert not isinstance(found, Run)  # a run is a search
    space, genotype = architecture(found, within)
    if given is not None:
        return space, given if isinstance(given, str) else given.name, genotype
    return space, space.name, genotype


def _images(given: RetrainConfig, search: Run | None, streamed: bool | None) -> tuple[Images, RetrainConfig]:
    """Return the given images, by default those of the search, and the configuration with how they were read."""
    if given.data is not None:
        images = load(given.data, given.image_size, skip_broken=given.skip_broken, stream=given.stream or streamed)
        return images, replace(given, data=source_name(given.data))
    if search is None:
        raise UserError("an architecture needs images to train on: give them with --data, or data= in Python")
    config = recorded(search)
    source = config["data"]
    if not is_available(source):
        raise UserError(
            f"run '{search.path}' was searched on '{source}', which is not here: "
            "give the images with --data, or data= in Python"
        )
    skip_broken, as_searched = given.skip_broken or config["skip_broken"], config["stream"] or None
    stream = given.stream or (as_searched if streamed is None else streamed)
    images = load(source, given.image_size, skip_broken=skip_broken, stream=stream)
    _check_classes(search, config, images)
    return images, replace(given, data=source, skip_broken=skip_broken)


def _check_classes(search: Run, config: SearchRecord, images: Images) -> None:
    classes = config["classes"]
    if classes != list(images.classes):
        raise UserError(
            f"'{config['data']}' has other classes than when run '{search.path}' was searched on it: "
            f"{', '.join(images.classes)}, not {', '.join(classes)}; give the images with --data, or data= in Python"
        )


def _parts(y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and of the validation images."""
    every = torch.arange(len(y))
    return hold_out(y, share) if share else (every, every[:0])


def _wanted(config: RetrainConfig) -> dict[str, int]:
    """Return the cost that the width is chosen for, if there is one; raises UserError for two."""
    wanted = {name: int(count) for name in UNITS if (count := getattr(config, name)) is not None}
    if len(wanted) > 1:
        raise UserError(f"give {' or '.join(wanted)}, not both: there is one width to choose")
    return wanted


def _resolved(
    config: RetrainConfig, images: Images, space: SearchSpace, genotype: Genotype
) -> tuple[RetrainConfig, NetworkSize]:
    """Return the configuration with its open choices made as images, space and genotype have them, and the size."""
    height, across = images.x.shape[2:]
    size = (config.crop, config.crop) if config.crop else (height, across)
    check_pixels(min(size), pad=config.pad, cutout=config.cutout)
    width, depth = config.width or space.target[0], config.depth or space.target[1]
    channels, classes = images.x.shape[1], len(images.classes)
    network_size = NetworkSize(width, depth, size, channels, classes, config.stem, config.reductions)
    halving = [placed for placed in space.layout(network_size) if getattr(placed.layer, "stride", 1) == 2]
    network_size = replace(network_size, stem=network_size.halvings, reductions=len(halving))
    for name, wanted in _wanted(config).items():
        network_size = with_cost(space, genotype, network_size, name, wanted)
    measurable = images.x_test is not None or images.validation
    resolved = replace(
        config,
        width=network_size.width,
        depth=depth,
        params=None,
        flops=None,
        image_size=height if height == across else None,
        pad=_pad(config, min(size)),
        mirror=images.mirror if config.mirror is None else config.mirror,
        stream=images.streamed,
        validation_share=config.validation_share or (0.0 if measurable else _NO_TEST_IMAGES),
        stem=network_size.stem,
        reductions=network_size.reductions,
    )
    return resolved, network_size


def _pad(config: RetrainConfig, side: int) -> int:
    if config.pad is None:
        return 0 if config.crop else side // 8
    return config.pad
