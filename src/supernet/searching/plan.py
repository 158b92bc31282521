"""Plan: a search with every choice made and checked, before anything is written or trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from supernet.data import Images, load, source_name, take
from supernet.data.augment import check_pixels
from supernet.engine.device import device_named
from supernet.engine.precision import Precision
from supernet.errors import UserError, at_least, unknown
from supernet.methods import Preset
from supernet.methods import method as method_named
from supernet.methods.base import Method
from supernet.models.cost.best import FeasibleSet
from supernet.models.cost.count import check_shapes
from supernet.models.cost.limits import Limits, count
from supernet.models.execution import Execution, execution
from supernet.searching.config import Protocol
from supernet.searching.config import protocol as protocol_named
from supernet.selectors import Preset as SelectorPreset
from supernet.selectors import selector as selector_named
from supernet.selectors.base import Selector
from supernet.settings import amend, check_kinds, check_seed
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces import space as space_named


@dataclass(frozen=True)
class Plan:
    """A search with every choice made: what `start` needs."""

    source: str  # what the data was loaded from, as it was given
    images: Images
    space: SearchSpace
    called: str  # the name by which the space was given
    preset: Preset
    selector: SelectorPreset
    select: Any
    protocol: Protocol
    settings: Any
    seed: int
    device: torch.device
    execution: Execution
    diagnose: bool
    feasible: FeasibleSet

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings as plain data: what a run folder keeps, and compares when it is entered again."""
        return {
            "task": "search",
            "data": self.images.name,
            "source": self.source,
            "fingerprint": self.images.fingerprint,
            "classes": list(self.images.classes),
            "space": self.called,
            "space_hash": self.space.fingerprint(self.network_size),
            "method": self.preset.name,
            "selector": self.selector.name,
            "select": asdict(self.select),
            "seed": self.seed,
            "device": str(self.device),
            "execution": self.execution.config,
            "diagnose": self.diagnose,
            "target": {"width": self.target.width, "depth": self.target.depth},
            "limits": asdict(self.feasible.limits),
            "protocol": asdict(self.protocol),
            "settings": asdict(self.settings),
        }

    @property
    def running(self) -> str:
        """How it runs, in a line."""
        return self.execution.on(self.device)

    @property
    def precision(self) -> Precision:
        """The number format that it runs in."""
        return self.execution.precision

    @property
    def network_size(self) -> NetworkSize:
        """The size of the supernet."""
        return _network_size(self.protocol, self.images)

    @property
    def target(self) -> NetworkSize:
        """The size of the network that the search is for: limits refer to it, and so does what is reported."""
        return self.feasible.network_size

    @property
    def folder(self) -> Path:
        """Where the run goes when no place is given."""
        return Path("runs") / f"{Path(self.images.name).stem}-{self.space.name}-{self.preset.name}-{self.seed}".lower()


def plan(
    data: str | os.PathLike[str] | Dataset[Any],
    *,
    space: str | SearchSpace = "nasbench201",
    method: str | type[Method] = "single-darts",
    selector: str | type[Selector] | None = None,
    select: Any = None,
    protocol: str | Protocol = "small",
    settings: Any = None,
    seed: int = 0,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    checkpointing: bool = False,
    graphs: bool | None = None,
    workers: int = 1,
    diagnose: bool = False,
    target_width: int | None = None,
    target_depth: int | None = None,
    max_params: int | str | None = None,
    max_flops: int | str | None = None,
    max_latency_ms: float | None = None,
    latency: str | None = None,
    **changes: Any,
) -> Plan:
    """Make every choice of a search; the arguments are those of `supernet.search`. Raises UserError."""
    check_kinds(space=(space, str | SearchSpace), method=(method, str | type), selector=(selector, str | type | None))
    check_kinds(protocol=(protocol, str | Protocol), seed=(seed, int), device=(device, str | torch.device))
    check_kinds(engine=(engine, str), precision=(precision, str))
    check_kinds(checkpointing=(checkpointing, bool), graphs=(graphs, bool | None), workers=(workers, int))
    check_kinds(target_width=(target_width, int | None), target_depth=(target_depth, int | None))
    check_kinds(max_latency_ms=(max_latency_ms, float | int | None), latency=(latency, str | None))
    check_seed(seed)
    at_least(1, target_width=target_width, target_depth=target_depth)
    limits = Limits(
        count("max_params", max_params), count("max_flops", max_flops), max_latency_ms, latency or Limits.latency
    )
    preset = method_named(method)
    base = protocol_named(protocol) if isinstance(protocol, str) else protocol
    home, chooser = space_named(space), selector_named(selector or preset.selector)
    base, settings = _settings(preset, base, settings, changes)
    where = device_named(device)
    how = execution(
        where,
        engine=engine,
        precision=precision,
        checkpointing=checkpointing,
        graphs=graphs,
        capturable=preset.load().capturable,
        workers=workers,
        spreads=preset.load().spreads,
    )
    images = take(load(data, base.image_size), base.images)
    network_size = _network_size(base, images)
    target = replace(network_size, width=target_width or home.target[0], depth=target_depth or home.target[1])
    check_shapes(home, network_size)
    check_shapes(home, target)
    resolved = _resolved(base, images)
    called = space if isinstance(space, str) else home.name
    feasible = FeasibleSet(home, target, limits, where)
    feasible.check()
    chosen = _selection(chooser, select)
    chooser.load().check(chosen, tracked=resolved.norm_track)
    return Plan(
        source=source_name(data),
        images=images,
        space=home,
        called=called,
        preset=preset,
        selector=chooser,
        select=chosen,
        protocol=resolved,
        settings=settings,
        seed=seed,
        device=where,
        execution=how,
        diagnose=diagnose,
        feasible=feasible,
    )


def method_settings(preset: Preset) -> Any:
    """Return the settings that a method starts from, an instance of its Config; raises UserError if it is no method."""
    return _starting(preset, Method)


def selector_settings(preset: SelectorPreset) -> Any:
    """Return the settings that a selector starts from; raises UserError if it is no selector."""
    return _starting(preset, Selector)


def _starting(preset: Preset | SelectorPreset, base: type[Any]) -> Any:
    kind = preset.load()
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise UserError(f"{preset.kind()} '{preset.name}' is not a class derived from supernet.{base.__name__}")
    return amend(kind.Config(), preset.settings)


def _selection(preset: SelectorPreset, given: Any) -> Any:
    """Return a selector's settings: those it starts from, with what is given as a dict, or those given."""
    start = selector_settings(preset)
    if given is None or isinstance(given, Mapping):
        return amend(start, given or {})
    check_kinds(select=(given, type(start)))
    return given


def _network_size(protocol: Protocol, images: Images) -> NetworkSize:
    _, channels, height, width = images.x.shape
    return NetworkSize(
        protocol.width,
        protocol.depth,
        (height, width),
        channels,
        len(images.classes),
        protocol.stem,
        protocol.reductions,
    )


def _resolved(protocol: Protocol, images: Images) -> Protocol:
    """Return the protocol with its None fields filled in as these images have it."""
    height, width = images.x.shape[2:]
    side = min(height, width)
    check_pixels(side, pad=protocol.pad, cutout=protocol.cutout)
    return replace(
        protocol,
        images=len(images.x),
        image_size=side if height == width else None,  # None keeps what is not square as it is
        pad=side // 8 if protocol.pad is None else protocol.pad,
        mirror=images.mirror if protocol.mirror is None else protocol.mirror,
    )


def _settings(preset: Preset, protocol: Protocol, settings: Any, changes: Mapping[str, Any]) -> tuple[Protocol, Any]:
    """Give each change to the protocol or to the method's settings, whichever has a field of that name."""
    start = method_settings(preset)
    settings = start if settings is None else settings
    check_kinds(settings=(settings, type(start)))
    shared, own = ([entry.name for entry in fields(part)] for part in (protocol, settings))
    for name in changes:
        if name not in shared + own:
            raise unknown("setting", name, shared + own)
    protocol = amend(protocol, {name: value for name, value in changes.items() if name in shared})
    return protocol, amend(settings, {name: value for name, value in changes.items() if name in own})
