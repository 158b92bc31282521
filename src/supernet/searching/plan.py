"""The plan of a search: its configuration with every choice made and checked, before anything is written or trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.data import Images, Source, hold_out, load, split, take
from supernet.data.augment import check_pixels
from supernet.engine.device import device_named
from supernet.engine.folder import default_folder
from supernet.engine.precision import Precision
from supernet.engine.process_group import count
from supernet.engine.run import FORMAT
from supernet.errors import UserError
from supernet.methods import Preset as MethodPreset
from supernet.models.cost.count import check_shapes
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.memory import TRAINED, check_memory
from supernet.models.execution import Execution, execution
from supernet.searching.config import SearchConfig, configured
from supernet.searching.idle import idle
from supernet.selectors import Preset as SelectorPreset
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces import space as space_named
from supernet.spaces.tables.entry import holds


@dataclass(frozen=True)
class Plan:
    """A search with every choice made; in its `config` no None is left to be filled in from images or device.

    But for `image_size`, which stays None where images are not square.
    """

    config: SearchConfig
    images: Images
    space: SearchSpace
    device: torch.device
    execution: Execution
    feasible: FeasibleSet

    @property
    def record(self) -> dict[str, Any]:
        """The configuration as plain data, and the identity of images and space: what a run folder keeps."""
        return self.config.to_dict() | {
            "format": FORMAT,
            "task": "search",
            "data_name": self.images.name,
            "fingerprint": self.images.fingerprint,
            "classes": list(self.images.classes),
            "space_hash": self.space.fingerprint(self.network_size),
        }

    @property
    def method(self) -> MethodPreset:
        """The method, under its published name."""
        return self.config.method_preset

    @property
    def selector(self) -> SelectorPreset:
        """The selector, under its published name."""
        return self.config.selector_preset

    @property
    def seed(self) -> int:
        """The seed of everything drawn."""
        return self.config.seed

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor]:
        """The indices of training and of validation images: as the source gives them, otherwise by the protocol."""
        y, share, given = self.images.y, self.config.validation_share, self.images.given_parts
        train, validation = given or (split(y, self.config.split) if share == 0.5 else hold_out(y, share))
        return _some(y, train, self.config.training_share, len(train) if given else len(y)), validation

    @property
    def reading(self) -> str:
        """The images, in one line."""
        train, validation = map(len, self.parts)
        if not self.method.load().holds_out(self.config.method_config):
            return f"read {self.images.described(0)}; {train + validation} train the weights, none are held out"
        some = "" if self.config.training_share is None else f"; {train} of them train the weights"
        return f"read {self.images.described(validation)}{some}"

    @property
    def idle(self) -> Sequence[str]:
        """A line for each setting that has no effect."""
        return list(idle(self.config, self.images.validation))

    @property
    def running(self) -> str:
        """The engine, number format and device, in one line."""
        return self.execution.on(self.device)

    @property
    def kernels(self) -> str | None:
        """The kernels of the engine."""
        return self.execution.kernels(self.device)

    @property
    def fixed_epochs(self) -> str:
        """Why the method cannot go on for more epochs; empty if it can."""
        return self.method.load().fixed_epochs

    @property
    def precision(self) -> Precision:
        """The number format of the search."""
        return self.execution.precision

    @property
    def network_size(self) -> NetworkSize:
        """The size of the supernet."""
        return _network_size(self.config, self.images)

    @property
    def network_sizes(self) -> Sequence[NetworkSize]:
        """The sizes of the supernet in each stage of the search; for most methods there is one."""
        return self.method.load().network_sizes(self.config.method_config, self.network_size)

    @property
    def target(self) -> NetworkSize:
        """The size of the network that the search is for: limits and reported costs refer to it."""
        return self.feasible.network_size

    @property
    def in_table(self) -> bool:
        """Whether the images are those of tables."""
        return holds(self.images.name, self.images.classes)

    @property
    def folder(self) -> Path:
        """The default run folder."""
        return default_folder(self.images.name, self.space.name, self.method.name, str(self.seed))


def plan(config: SearchConfig, streamed: bool | None = None) -> Plan:
    """Load the images, make every choice that is left open, and check all of it. Raises UserError.

    `streamed` says whether the images stay on the disk where `config` does not ask for it; None decides by memory.
    """
    space, device = space_named(config.space), device_named(str(config.device))
    method = config.method_preset.load()
    how = execution(
        device,
        engine=config.engine,
        precision=config.precision,
        checkpointing=config.checkpointing,
        graphs=config.graphs,
        capturable=method.capturable,
        per_step=config.w.per_step,
        workers=config.workers,
        spreads=method.spreads,
    )
    limits = config.limits
    read = load(config.data, config.image_size, skip_broken=config.skip_broken, stream=config.stream or streamed)
    images = take(read, config.images)
    network_size = _network_size(config, images)
    width, depth = config.target_width or space.target[0], config.target_depth or space.target[1]
    target = replace(network_size, width=width, depth=depth)
    sizes = method.network_sizes(config.method_config, network_size)
    batch = min(config.batch_size, len(images.y))
    for size in sizes:
        check_memory(space, size, device, images=-(-batch // count()), copies=TRAINED)
    for size in (*sizes, target):  # the operations run one at a time, on the CPU
        check_memory(space, size, together=False)
        check_shapes(space, size)
    resolved = _resolved(config, images, how, device)
    feasible = FeasibleSet(space, target, limits, device)
    feasible.check()
    _check_targets(config, space, target, device)
    if config.patience is not None and not method.patient:
        raise UserError(f"method '{config.method_preset.name}' has no choice that could stay: leave patience out")
    if config.monitor is None and config.monitor_every is not None:
        raise UserError("setting monitor_every is of a monitor, and there is none: give monitor, too, or leave it out")
    config.selector_preset.load().check(resolved.select, tracked=resolved.norm_track)
    return Plan(
        config=replace(resolved, target_width=width, target_depth=depth),
        images=images,
        space=space,
        device=device,
        execution=how,
        feasible=feasible,
    )


def _check_targets(config: SearchConfig, space: SearchSpace, target: NetworkSize, device: torch.device) -> None:
    """Raise UserError for targets that the method cannot aim at, or that no architecture reaches."""
    if not config.targets:
        return
    if not config.method_preset.load().aims:
        raise UserError(
            f"method '{config.method_preset.name}' cannot aim at a target, since it learns no alpha: "
            "give a limit, as with max_params"
        )
    FeasibleSet(space, target, config.targets, device).check()


def planned(data: Source = "digits", **settings: Any) -> Plan:
    """Return the plan of a search with these settings, the arguments of `configured`. Raises UserError."""
    return plan(configured(data=data, **settings))


def _some(y: Tensor, train: Tensor, share: float | None, count: int) -> Tensor:
    """Return those of the training images that make a share of `count` images, class by class; None is all."""
    if share is None:
        return train
    if share * count > len(train):
        have = f"validation leaves {len(train)} of {count} images"
        raise UserError(f"setting training_share is too large at {share:g}: {have}; give a smaller one")
    wanted = share * count / len(train)
    return train[hold_out(y[train], wanted)[1]] if wanted < 1 else train


def _network_size(config: SearchConfig, images: Images) -> NetworkSize:
    _, channels, height, width = images.x.shape
    return NetworkSize(
        config.width,
        config.depth,
        (height, width),
        channels,
        len(images.classes),
        config.stem,
        config.reductions,
    )


def _resolved(config: SearchConfig, images: Images, how: Execution, device: torch.device) -> SearchConfig:
    """Return the configuration with its open choices made as these images and this device have them."""
    height, width = images.x.shape[2:]
    side = min(height, width)
    check_pixels(side, pad=config.pad, cutout=config.cutout)
    return replace(
        config,
        images=len(images.x),
        stream=images.streamed,
        image_size=side if height == width else None,
        pad=side // 8 if config.pad is None else config.pad,
        mirror=images.mirror if config.mirror is None else config.mirror,
        device=str(device),
        engine=how.engine,
        precision=how.precision,
        checkpointing=how.checkpointing,
        graphs=how.graphs,
    )
