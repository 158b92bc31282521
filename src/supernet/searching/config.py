"""The configuration of a search: one typed object, from which the command line and the Python signature are derived."""

from __future__ import annotations

from dataclasses import KW_ONLY, MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from supernet.data import SOURCE_TYPES, SOURCE_WORDS, Source, source_name
from supernet.engine.checkpoints import START_OVER
from supernet.engine.driving import Driving
from supernet.engine.folder import flat
from supernet.engine.optim import SGDConfig
from supernet.engine.precision import Precision
from supernet.engine.records import damaged
from supernet.engine.run import Run
from supernet.errors import UserError, unknown
from supernet.methods import METHODS
from supernet.methods import Preset as MethodPreset
from supernet.methods.base import Method
from supernet.methods.monitors import MonitorName
from supernet.models.cost.limits import Limits, counted
from supernet.models.mixed_cell import Engine
from supernet.selectors import SELECTORS
from supernet.selectors import Preset as SelectorPreset
from supernet.selectors.base import Selector
from supernet.settings import (
    Count,
    OfType,
    Positive,
    Seed,
    Whole,
    amend,
    given_config,
    plain_values,
    preset_named,
    settings,
    values_of,
)
from supernet.spaces import SearchSpace

FLAGS = frozenset({"config", "dry_run", "no_graphs", "processes", "gpus", "help", "help_all"})
"""What `supernet search` has beside the fields of `SearchCall`; fields of a method's Config are flags among them."""

_OF_SELECT = {
    *("run", "selector", "data", "space", "method", "seed", "device", "out", "force", "resume_anyway", "quiet", "log"),
    *("callbacks", "table", "processes", "gpus", "config", "help", "help_all"),
}
"""The arguments of `supernet.select` and `supernet select`, which the fields of a selector's Config stand beside."""

_NO_NUMBERS = ("graphs", "workers")  # settings that change no number: a run may go on with others


@settings
class Protocol:
    """How much is trained and on which images, whatever the method; every table of results names its protocol."""

    _: KW_ONLY
    epochs: Count = 40
    """passes over the images the weights learn from"""
    batch_size: Count = 64
    """images per step"""
    width: Count = 8
    """channels of the first stage"""
    depth: Count = 1
    """cells per stage, as the space counts them"""
    stem: Whole | None = None
    """times the stem halves the image; None halves it until its shorter side is at most 32"""
    reductions: Whole | None = None
    """reductions of the space that halve the resolution; None is as many as leave at least 2 pixels"""
    images: int | None = None
    """training images used, validation images included; None uses all"""
    image_size: int | None = None
    """pixels per side; None keeps arrays as they are, and brings pictures to their median, at most 224"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of naming them all and stopping"""
    stream: bool = False
    """leave images on the disk and decode them in each pass, also those that would fit into memory"""
    split: Literal["stratified", "index"] = "stratified"
    """how the training images are halved if none are given for validation: with balanced classes, or by index"""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """share of the training images kept for validation if none are given; all but 0.5 are taken class by class"""
    training_share: Annotated[float | None, Field(gt=0, lt=1)] = None
    """share of images that trains the weights, taken class by class; None is all that are not for validation"""
    pad: Whole | None = None
    """pixels of zero padding before the random crop; None is an eighth of the side"""
    mirror: bool | None = None
    """mirror half of the images, left to right; None mirrors all images but digits"""
    cutout: Whole = 0
    """side of the square that is cut out, in pixels"""
    norm_affine: bool = False
    """candidates' batch norm learns scale and shift"""
    norm_track: bool = True
    """evaluate candidates' batch norm with running statistics, not with those of the batch"""
    norm_shared: bool = False
    """batch norm in training takes its statistics over all processes, not over the images of each"""
    w: SGDConfig = SGDConfig()

    def __post_init__(self) -> None:
        if self.validation_share != 0.5 and self.split == "index":
            raise UserError("setting split index cuts the images in halves: with validation_share, leave it stratified")


@settings
class SearchConfig(Protocol):
    """Every setting of a search. `configured` builds one from a protocol, a method and a selector by name."""

    data: Annotated[Source, OfType(*SOURCE_TYPES, right=SOURCE_WORDS)] = "digits"
    """digits (included), .npz file, class folders, shards, IDX or CIFAR files; in Python also a Dataset or (X, y)"""
    _: KW_ONLY
    space: Annotated[str | SearchSpace, OfType(str, SearchSpace)] = "nasbench201"
    """search space: a name, your own as module:NAME, or in Python a SearchSpace"""
    method: Annotated[str | type[Method], OfType(str, type)] = "single-darts"
    """method: a name, your own as module:Class, or in Python the class"""
    method_config: Any = None
    """the method's own settings: a mapping, or an instance of its Config; None is what was published"""
    selector: Annotated[str | type[Selector] | None, OfType(str, type, type(None))] = None
    """selector: a name, your own as module:Class, or in Python the class; None is the method's"""
    select: Any = None
    """the selector's own settings: a mapping, or an instance of its Config; None is what was published"""
    seed: Seed = 0
    """seed of everything drawn"""
    device: Annotated[str | torch.device, OfType(str, torch.device)] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    engine: Literal["auto", Engine] = "auto"
    """fused, or reference: one operation after the other; auto is fused"""
    precision: Literal["auto", Precision] = "auto"
    """number format of the big operations; auto is TF32 on a GPU that has it, float32 elsewhere"""
    checkpointing: bool = False
    """less memory for more time: cells are run again in the backward pass"""
    graphs: bool | None = None
    """record steps and replay them (CUDA graphs); None does so on a GPU where the method allows it"""
    workers: Count = 1
    """processes that share the lookahead of zero-order methods"""
    patience: Count | None = None
    """end the search once so many epochs in a row have left its choice as it was; None goes on to the last epoch"""
    monitor: MonitorName | None = None
    """measure while searching: gradients (Single-DARTS, figures 2 and 3), or the Hessian along alpha (R-DARTS)"""
    monitor_every: Count | None = None
    """steps between two measurements of gradients, epochs between two of hessian; None is 10 and 2"""
    target_width: Count | None = None
    """channels of the network that the search is for; None is the space's own number"""
    target_depth: Count | None = None
    """cells per stage of the network that the search is for; None is the space's own number"""
    max_params: Annotated[int | str | None, counted("max_params")] = None
    """parameters that network may have at most, as 300k or 1.5M"""
    max_flops: Annotated[int | str | None, counted("max_flops")] = None
    """multiply-adds for one image that it may have at most, as 25M"""
    max_latency_ms: float | None = None
    """milliseconds that it may take for one image"""
    target_params: Annotated[int | str | None, counted("target_params")] = None
    """parameters that the search learns to come down to, as 300k or 1.5M"""
    target_flops: Annotated[int | str | None, counted("target_flops")] = None
    """multiply-adds for one image that the search learns to come down to, as 25M"""
    target_latency_ms: Positive | None = None
    """milliseconds for one image that the search learns to come down to"""
    latency: str = Limits.latency
    """measured, on this machine, or a field of the space's table (supernet query --fields)"""

    @property
    def limits(self) -> Limits:
        """The most that the network may cost."""
        of_targets = self.max_latency_ms is None and self.target_latency_ms is not None
        latency = Limits.latency if of_targets else self.latency
        return Limits(_whole(self.max_params), _whole(self.max_flops), self.max_latency_ms, latency)

    @property
    def targets(self) -> Limits:
        """The costs that the search learns to come down to."""
        latency = Limits.latency if self.target_latency_ms is None else self.latency
        return Limits(_whole(self.target_params), _whole(self.target_flops), self.target_latency_ms, latency)

    @property
    def method_preset(self) -> MethodPreset:
        """The published method, or one of the user's own."""
        return METHODS.named(self.method)

    @property
    def selector_preset(self) -> SelectorPreset:
        """The published selector, or one of the user's own."""
        return SELECTORS.named(self.selector or self.method_preset.selector)

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that can change a number as plain data, which `saved` reads back."""
        names = {
            "data": source_name(self.data),
            "space": str(self.space) if isinstance(self.space, str) else self.space.name,  # of NumPy, too
            "method": self.method_preset.name,
            "selector": self.selector_preset.name,
            "device": str(self.device),
        }
        plain = plain_values(self, SearchConfig, names)
        return {name: value for name, value in plain.items() if name not in _NO_NUMBERS}


@settings
class SearchCall(SearchConfig, Driving):
    """The arguments of `supernet search` and `supernet.search`: a configuration, and how the run is driven."""

    _: KW_ONLY
    protocol: Annotated[str | Protocol, OfType(str, Protocol)] = "small"
    """protocol, a name or in Python a Protocol: the start of all settings that are not given"""
    front: Whole = 0
    """architectures along their cost that are selected from the search, its own first; 0 selects its own alone"""
    table: bool = False
    """show what the space's table has measured of the architecture, though on other images than these"""


PROTOCOLS: dict[str, Protocol] = {
    # Sized for two CPU cores and minutes. On 8 192 images it has an eighth of the steps of `nasbench201` below, so its
    # learning rate is five times larger: alpha moves by the learning rate times the number of steps.
    "small": Protocol(),
    # The longest search of all operations that one core ends within five minutes on 25 000 images: 4 875 steps, 6.5
    # times those after which networks of this size, trained alone, begin to rank as benchmark networks do.
    "medium": Protocol(images=25_000, image_size=16, epochs=25),
    # Single-DARTS on NAS-Bench-201 (arXiv 2108.08128): 25 000 images, 32x32, 15 cells, one learning rate for all.
    "nasbench201": Protocol(epochs=50, width=16, depth=5, w=SGDConfig(lr=0.005)),
    # GDAS, RSPS, SETN and ENAS on NAS-Bench-201, as that paper searches with them (arXiv 2001.00326).
    "nasbench201-paths": Protocol(
        epochs=250,
        width=16,
        depth=5,
        norm_track=False,
        w=SGDConfig(lr=0.025, lr_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
    # NAO-V2 (arXiv 1909.10815, released code): 11 cells, 45 000 training and 5 000 validation images, four times 50
    # epochs and five times 10.
    "nao": Protocol(
        epochs=250, width=20, depth=3, validation_share=0.1, norm_affine=True, w=SGDConfig(lr=0.025, lr_min=0.001)
    ),
    # Single-DARTS directly on ImageNet (arXiv 2108.08128): three convolutions of stride 2 in front, alpha with weight
    # decay 0 and sigmoid op weights that begin at 1/n, as the method has them by default; its optimizer is the setting
    # `alpha.optimizer`, in the paper Adam. Width, depth and weight decay of the weights are DARTS' own, since the
    # paper's text gives none.
    "imagenet-single-darts": Protocol(
        epochs=50, batch_size=360, width=16, depth=2, stem=3, image_size=224, w=SGDConfig(lr=0.025, weight_decay=3e-4)
    ),
    # PC-DARTS on ImageNet (arXiv 1907.05737, and released code): 10 % of the images for the weights, 2.5 % for alpha;
    # the learning rate rises for five epochs, as batches are larger than 256.
    "imagenet-pc-darts": Protocol(
        epochs=50,
        batch_size=1024,
        width=16,
        depth=2,
        stem=3,
        image_size=224,
        training_share=0.1,
        validation_share=0.025,
        w=SGDConfig(lr=0.5, weight_decay=3e-4, warmup=5),
    ),
}


def configured(
    protocol: str | Protocol = "small",
    *,
    method: str | type[Method] = "single-darts",
    method_config: Any = None,
    selector: str | type[Selector] | None = None,
    select: Any = None,
    **given: Any,
) -> SearchConfig:
    """Return the whole configuration of a search: the protocol's values, the method's, the selector's, and `given`.

    `given` may name any field of SearchConfig, and any field of the method's Config. Raises UserError for an unknown
    name or a wrong value.
    """
    base = values_of(preset_named("protocol", protocol, PROTOCOLS), Protocol)
    start = SearchConfig(**base, method=method, selector=selector)
    own = config_of(start.method_preset, method_config)
    names, own_names = list(values_of(start)), list(values_of(own))
    for name in given:
        if name not in names and name not in own_names:
            raise unknown("setting", name, [*names, *own_names])
    own = amend(own, {name: value for name, value in given.items() if name not in names})
    shared = {name: value for name, value in given.items() if name in names}
    return amend(start, shared | {"method_config": own, "select": config_of(start.selector_preset, select)})


def _whole(count: int | str | None) -> int | None:
    return None if count is None else int(count)


def config_of(preset: MethodPreset | SelectorPreset, given: object = None) -> Any:
    """Return the config of a preset with `given`, a mapping of changes; an instance of its Config is taken as it is.

    Raises UserError for changes that do not fit, and for anything else.
    """
    start = amend(_defaults(preset), preset.settings)
    return given_config(start, given, f"{preset.kind} '{preset.name}' takes a {type(start).__name__}")


def _defaults(preset: MethodPreset | SelectorPreset) -> Any:
    """Return the Config of a preset with the default of every field; raises UserError if it cannot have settings."""
    kind, whose = preset.load().Config, f"Config of {preset.kind} '{preset.name}'"
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise UserError(f"{whose} must be a frozen dataclass, not {kind!r}")
    entries = [entry for entry in fields(kind) if entry.init]
    if open_ := [entry.name for entry in entries if entry.default is MISSING and entry.default_factory is MISSING]:
        raise UserError(f"{whose} must have a default for every field, also for {', '.join(open_)}")
    taken, call = _OF_SELECT, "selection"
    if isinstance(preset, MethodPreset):
        taken, call = {*FLAGS, *(entry.name for entry in fields(SearchCall))}, "search"
    if clash := [entry.name for entry in entries if entry.name in taken]:
        raise UserError(f"{whose} must have names that no setting or flag of a {call} has: rename {', '.join(clash)}")
    return kind()


def by_flag(config: SearchConfig) -> dict[str, Any]:
    """Return all settings of a search by the names of their flags, as {"alpha.lr": 0.025}."""
    return {name.removeprefix("method_config."): value for name, value in flat(config.to_dict()).items()}


def saved(run: Run) -> dict[str, Any]:
    """Return the arguments of `configured` that make the search in a run folder again.

    The device is not among them; TF32 is "auto" again, which takes it where there is one. Raises UserError if one is
    missing in the folder.
    """
    names = [entry.name for entry in fields(SearchConfig) if entry.name not in ("device", *_NO_NUMBERS)]
    config = run.config
    if missing := [name for name in names if name not in config]:
        raise damaged(run.path / "config.yaml", f"without {', '.join(missing)}", START_OVER)
    arguments = {name: config[name] for name in names}
    return arguments | ({"precision": "auto"} if arguments.get("precision") == "tf32" else {})
