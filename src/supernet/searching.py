"""Search: a method, a supernet, data, a selector and the loop put together, in a run folder."""

from __future__ import annotations

import json
import os
import platform
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from supernet import tables
from supernet.config import Protocol, amend
from supernet.config import protocol as protocol_named
from supernet.cost import cost
from supernet.data import Augment, Batch, Batches, Images, load, ordered, split, take
from supernet.errors import UserError, unknown
from supernet.genotype import Genotype
from supernet.loop import Loop, Watcher
from supernet.methods import Preset
from supernet.methods import method as method_named
from supernet.methods.base import Budget, Method, Part
from supernet.mixing import detached
from supernet.model import Supernet, check_image
from supernet.monitors import GradientMonitor, judge
from supernet.primitives import Norm
from supernet.run import Run
from supernet.selectors import Selector
from supernet.selectors import selector as selector_named
from supernet.spaces import SearchSpace
from supernet.spaces import space as space_named


@dataclass(frozen=True)
class Plan:
    """A search with every choice made: what `start` needs."""

    source: str  # what the data was loaded from, as it was given
    images: Images
    space: SearchSpace
    preset: Preset
    selector: Selector
    protocol: Protocol
    settings: Any
    seed: int
    device: torch.device
    diagnose: bool

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings as plain data: what a run folder keeps, and compares when it is entered again."""
        shape = repr((sorted(self.space.cells.items()), self.space.skeleton))
        return {
            "data": self.images.name,
            "source": self.source,
            "fingerprint": self.images.fingerprint,
            "space": self.space.name,
            "space_hash": sha256(shape.encode()).hexdigest()[:16],
            "method": self.preset.name,
            "selector": self.selector.name,
            "seed": self.seed,
            "device": str(self.device),
            "diagnose": self.diagnose,
            "protocol": asdict(self.protocol),
            "settings": asdict(self.settings),
        }


class SearchTask:
    """What the loop drives when it searches: it feeds the method, and after each epoch measures and names a cell."""

    def __init__(self, plan: Plan) -> None:
        self.plan, protocol = plan, plan.protocol
        images = plan.images.to(plan.device)
        self.method = _method(plan)
        first, second = split(plan.images.y, protocol.split)
        parts: dict[Part, Tensor] = {"first": first, "second": second, "all": torch.arange(len(plan.images.y))}
        augment = _augment(protocol, images)
        self.streams: Mapping[str, Batches] = {
            name: Batches(images, parts[part], protocol.batch_size, augment, _seed(plan.seed, name), device=plan.device)
            for name, part in self.method.streams.items()
        }
        self.monitor = GradientMonitor(self.method) if plan.diagnose else None
        trained_on_second = self.method.streams["weights"] != "first"
        self._held_out = None if trained_on_second else (images, second)

    def begin_epoch(self, epoch: int) -> None:
        """Let the method prepare."""
        self.method.supernet.train()
        self.method.begin_epoch(epoch)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Let the method learn."""
        if self.monitor is None:
            return self.method.step(batches)
        self.monitor.before(batches)
        metrics = self.method.step(batches)
        self.monitor.after()
        return metrics

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Measure the supernet on the images its weights have not seen, and look up the architecture it would name."""
        valid = self._valid_accuracy()
        self.method.end_epoch(epoch, float("nan") if valid is None else valid)
        genotype = selector_named("magnitude").select(self.method)
        strength = {kind: value.tolist() for kind, value in self.method.strength().items()}
        row: dict[str, Any] = dict(means) | {
            "valid_accuracy": valid,
            "architecture": str(genotype),
            "weights": strength,
        }
        if self.monitor is not None:
            row["diagnostics"] = self.monitor.means()
        return row | {"verdict": judge(self.plan.space, genotype).state} | _known_accuracies(self.plan.space, genotype)

    @torch.no_grad()
    def _valid_accuracy(self) -> float | None:
        if self._held_out is None:
            return None
        supernet, mix = self.method.supernet.eval(), detached(self.method.mix())
        batches = ordered(*self._held_out, batch_size=512)
        hits = sum((supernet(batch.x, mix).argmax(1) == batch.y).sum() for batch in batches)
        supernet.train()
        return float(hits) / len(self._held_out[1])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the method and the monitor."""
        return {"method": self.method.state_dict(), "monitor": self.monitor and self.monitor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.method.load_state_dict(state["method"])
        if self.monitor is not None:
            self.monitor.load_state_dict(state["monitor"])


def plan(
    data: str | os.PathLike[str] | Dataset[Any],
    *,
    space: str | SearchSpace = "nasbench201",
    method: str | type[Method] = "single-darts",
    selector: str | None = None,
    protocol: str | Protocol = "small",
    settings: Any = None,
    seed: int = 0,
    device: str = "auto",
    diagnose: bool = False,
    **changes: Any,
) -> Plan:
    """Make every choice of a search and check it, before anything is written or trained; see `search`."""
    preset = method_named(method) if isinstance(method, str) else _own(method)
    base = protocol_named(protocol) if isinstance(protocol, str) else protocol
    home, chooser = space_named(space), selector_named(selector or preset.selector)
    base, settings = _settings(preset, base, settings, changes)
    where = _device(device)
    images = take(load(data, base.image_size), base.images)
    check_image(home, (images.x.shape[2], images.x.shape[3]))
    resolved = replace(
        base,
        images=len(images.x),
        image_size=min(images.x.shape[2:]),
        pad=min(images.x.shape[2:]) // 8 if base.pad is None else base.pad,
        mirror=images.mirror if base.mirror is None else base.mirror,
    )
    source = type(data).__name__ if isinstance(data, Dataset) else os.fspath(data)
    return Plan(source, images, home, preset, chooser, resolved, settings, seed, where, diagnose)


def search(
    data: str | os.PathLike[str] | Dataset[Any] = "digits",
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    watcher: Watcher | None = None,
    **choices: Any,
) -> Run:
    """Search for an architecture and return the finished run.

    - `data`: "digits" (embedded), an .npz file, a folder of class folders, or a torch Dataset of (image, label).
    - `space`: a name or a SearchSpace. `method`: a published name, or your own Method class.
    - `selector`: how the architecture is read out of what was learned; None is the method's own.
    - `protocol`: a name or a Protocol. `settings`: an instance of the method's Config; None is the method's own.
    - `seed`: of everything drawn. `device`: "auto", "cpu", "cuda", ...
    - `out`: the run folder; None makes a name from the choices, under `runs/`. Called again with the same arguments,
      an unfinished run goes on and a finished one is returned as it is; `force` starts it over.
    - `watcher`: is told of the progress; None prints plain lines.
    - `diagnose`: also log the gradient diagnostics of Single-DARTS, every 10 steps; see `supernet.monitors`.
    - any field of the protocol or of the method's settings: `epochs=5, activation="softmax", w={"lr": 0.01}`.

    Raises UserError for a choice that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a run that goes on.
    """
    return start(plan(data, **choices), out=out, force=force, watcher=watcher)


def start(
    plan: Plan,
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    watcher: Watcher | None = None,
) -> Run:
    """Run a planned search, or go on with it, and return the finished run."""
    watcher = watcher or Watcher()
    run = Run(default_folder(plan) if out is None else out)
    devices = [plan.device] if plan.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):  # the caller's random state is theirs
        torch.manual_seed(plan.seed)
        task = SearchTask(plan)  # before the folder is made: settings that do not go together are told here
        run.start(plan.config, environment(), force=force)
        if run.finished:
            watcher.say(f"run '{run.path}' has finished before: this is what it found; --force starts it over")
            return run
        Loop(task, run, plan.protocol.epochs, watcher)()
        genotype = plan.selector.select(task.method)
    finish(run, plan, genotype)
    return run


def finish(run: Run, plan: Plan, genotype: Genotype) -> None:
    """Write what the search found: pictures first, the summary last, since it is what says that the run has ended."""
    from supernet import plots  # Matplotlib is slow to import and only needed here

    space, images = plan.space, plan.images
    learned = {
        op for cell in space.cells.values() for edge in cell.edges for op in edge.ops if space.primitive(op).learned
    }
    edges = {kind: [(e.target, e.source, e.ops) for e in cell.edges] for kind, cell in space.cells.items()}
    plots.save(plots.draw_cell(genotype, learned), run.path / "cell.svg")
    plots.save(plots.draw_search(run.metrics, edges, "c10_test" if space.table else None), run.path / "search.svg")
    if plan.diagnose:
        plots.save(plots.draw_diagnostics(run.metrics, learned), run.path / "diagnostics.svg")
    price = cost(
        space,
        genotype,
        size=(images.x.shape[2], images.x.shape[3]),
        channels=images.x.shape[1],
        classes=len(images.classes),
    )
    known = None if space.table is None else tables.load(space.table)
    summary = {
        "genotype": genotype.to_json(),
        "architecture": str(genotype),
        "verdict": str(judge(space, genotype)),
        "params": price.params,
        "flops": price.flops,
        "known": None if known is None else known.summary(known.index(genotype)).to_json(),
        "seconds": round(sum(row["seconds"] for row in run.metrics), 1),
    }
    run.write("genotype.json", json.dumps(genotype.to_json(), indent=2) + "\n")
    run.write("summary.json", json.dumps(summary, indent=2) + "\n")


def default_folder(plan: Plan) -> Path:
    """Return the folder a search goes to when none is given."""
    return Path("runs") / f"{Path(plan.images.name).stem}-{plan.space.name}-{plan.preset.name}-{plan.seed}".lower()


def environment() -> dict[str, Any]:
    """Return what the numbers of a run depend on beside its settings."""
    from supernet import __version__

    return {
        "supernet": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": sys.argv,
    }


def _method(plan: Plan) -> Method:
    """Build the supernet and the method on it, with weights drawn from the current random state."""
    protocol, images = plan.protocol, plan.images
    supernet = Supernet(
        plan.space,
        width=protocol.width,
        depth=protocol.depth,
        channels=images.x.shape[1],
        classes=len(images.classes),
        norm=Norm(protocol.norm_affine, protocol.norm_track),
    )
    supernet.to(plan.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    budget = Budget(protocol.epochs, protocol.w, _seed(plan.seed, "method"))
    return plan.preset.load()(plan.settings, supernet, budget)


def _settings(preset: Preset, protocol: Protocol, settings: Any, changes: Mapping[str, Any]) -> tuple[Protocol, Any]:
    """Give each change to the protocol or to the method's settings, whichever has a field of that name."""
    settings = amend(preset.load().Config(), preset.settings) if settings is None else settings
    shared, own = ([entry.name for entry in fields(part)] for part in (protocol, settings))
    for name in changes:
        if name not in shared + own:
            raise unknown("setting", name, shared + own)
    protocol = amend(protocol, {name: value for name, value in changes.items() if name in shared})
    return protocol, amend(settings, {name: value for name, value in changes.items() if name in own})


def _own(method: type[Method]) -> Preset:
    target = f"{method.__module__}:{method.__qualname__}"
    return replace(Preset(target, target, "your own", ""))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' cannot be used here: {str(error).splitlines()[0]}") from None
    return device


def _augment(protocol: Protocol, images: Images) -> Augment:
    mirror = images.mirror if protocol.mirror is None else protocol.mirror
    return Augment(protocol.pad or 0, mirror, protocol.cutout)


def _seed(seed: int, name: str) -> int:
    """Return a seed of its own for each thing that draws."""
    return random.Random(f"{seed} {name}").getrandbits(62)


def _known_accuracies(space: SearchSpace, genotype: Genotype) -> dict[str, Any]:
    """Return what the table says of an architecture, as part of a row of metrics: index and the six accuracies."""
    if space.table is None:
        return {}
    table = tables.load(space.table)
    index = table.index(genotype)
    names = [f"{data}_{part}" for data in ("c10", "c100", "in16") for part in ("valid", "test")]
    return {"index": index, "known": {name: float(table.column(name)[index]) for name in names}}
