"""`supernet search`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, allow_own_modules, option, parse, peek
from supernet.errors import UserError

if TYPE_CHECKING:
    from supernet.searching.config import Protocol


@dataclass(frozen=True)
class Network:
    """The network that the search is for, and the most that it may have."""

    target_width: int | None = None
    """channels of the network that the search is for; None is the space's own number"""
    target_depth: int | None = None
    """cells per stage of the network that the search is for; None is the space's own number"""
    max_params: Annotated[str | None, arg(metavar="N")] = None
    """parameters that network may have at most, as 300k or 1.5M"""
    max_flops: Annotated[str | None, arg(metavar="N")] = None
    """multiply-adds for one image that it may have at most, as 25M"""
    max_latency_ms: float | None = None
    """milliseconds that it may take for one image"""
    latency: Annotated[str | None, arg(metavar="NAME")] = None
    """measured, on this machine, or a field of the space's table (supernet query --fields); None is measured"""


@dataclass(frozen=True)
class Execution:
    """How the supernet is run."""

    engine: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, fused, or reference: one operation after the other"""
    precision: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, float32, tf32 or bf16; auto is TF32 on a GPU that has it"""
    checkpointing: bool = False
    """less memory for more time: cells are run again in the backward pass"""
    graphs: bool = False
    """record steps and replay them (CUDA graphs); without either flag, on a GPU where the method allows it"""
    no_graphs: bool = False
    """never do so"""
    workers: int = 1
    """processes that the trials of zero-order methods are spread over"""

    def choices(self) -> dict[str, Any]:
        """Return the arguments of `plan`."""
        graphs = False if self.no_graphs else self.graphs or None
        chosen = {"engine": self.engine, "precision": self.precision, "checkpointing": self.checkpointing}
        return chosen | {"graphs": graphs, "workers": self.workers}


def search(given: Arguments) -> None:
    """Search for an architecture."""
    from supernet import methods, selectors
    from supernet.report import console as show
    from supernet.report import progress as screen
    from supernet.searching import config
    from supernet.searching import forecast as forecasting
    from supernet.searching import plan as planning
    from supernet.searching import search as searching
    from supernet.settings import amend

    allow_own_modules()
    saved = _saved_config(peek(given, "config", None))
    method = methods.method(peek(given, "method", saved.get("method", "single-darts")))
    protocol = config.protocol(peek(given, "protocol", "small"))
    settings = planning.method_settings(method)
    if saved:
        protocol = amend(protocol, saved["protocol"])
        settings = amend(settings, saved["settings"] if saved["method"] == method.name else {})
    network = _saved_network(saved, peek(given, "space", saved["space"])) if saved else Network()
    own = saved if saved.get("method") == method.name else {}
    chooser = selectors.selector(peek(given, "selector", own.get("selector", method.selector)))
    select = amend(planning.selector_settings(chooser), _saved_selection(own, chooser.name))
    fields = _search_arguments(protocol, settings, select, (method.name, chooser.name), network, saved)
    chosen = parse("search", fields, given)
    plan = planning.plan(
        chosen.data,
        space=chosen.space,
        method=method.name,
        selector=chosen.selector,
        select=chosen.select,
        protocol=chosen.shared,
        settings=chosen.own,
        seed=chosen.seed,
        device=chosen.device,
        diagnose=chosen.diagnose,
        **chosen.execution.choices(),
        **asdict(chosen.network),
    )
    if chosen.dry_run:
        show.forecast(show.Console(), plan.running, forecasting.foresee(plan))
        return
    run = searching.start(plan, out=chosen.out, force=chosen.force, watcher=screen.watcher(quiet=chosen.quiet))
    show.result(show.Console(), run)


def _saved_config(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    from pathlib import Path

    from supernet.engine.run import Run

    path = Path(file)
    saved = Run(path.parent if path.name == "config.yaml" else path).config
    if not saved.keys() >= {"source", "space", "method", "seed", "protocol", "settings"}:
        raise UserError(f"--config '{file}': no such run folder, or no config.yaml of a run in it")
    return saved


def _saved_selection(saved: dict[str, Any], selector: str) -> dict[str, Any]:
    """Return the saved settings of the selector, if it is the same one."""
    return dict(saved.get("select", {})) if saved.get("selector") == selector else {}


def _saved_network(saved: dict[str, Any], space: str) -> Network:
    """Return what the saved search was for: its limits, and, if the space is the same, the size."""
    size = saved.get("target", {}) if space == saved["space"] else {}
    limits = saved.get("limits", {})
    params, flops = (limits.get(name) and str(limits[name]) for name in ("max_params", "max_flops"))
    latency = limits.get("max_latency_ms"), limits.get("latency")
    return Network(size.get("width"), size.get("depth"), params, flops, *latency)


def _saved_execution(saved: dict[str, Any]) -> Execution:
    """Return how the saved search was run; TF32 is what "auto" takes, where there is one."""
    known = saved.get("execution", {})
    precision = known.get("precision", "auto")
    precision = "auto" if precision == "tf32" else precision
    return Execution(known.get("engine", "auto"), precision, known.get("checkpointing", False))


def _search_arguments(
    protocol: Protocol, settings: Any, select: Any, names: tuple[str, str], network: Network, saved: dict[str, Any]
) -> type:
    """Make the typed arguments of `search`: what every search has, and the fields of protocol, method and selector."""
    from supernet.methods import METHODS
    from supernet.searching.config import PROTOCOLS
    from supernet.selectors import SELECTORS
    from supernet.spaces import SPACES

    method, selector = names
    sources = "digits (embedded), an .npz file, a folder of class folders or IDX files"
    data = option(Positional[str], sources, metavar="DATA")
    fields: list[Any] = [
        ("data", data, saved["source"]) if saved else ("data", data),
        (
            "space",
            option(str, f"search space: {', '.join(SPACES)}, or your own as module:NAME"),
            saved.get("space", "nasbench201"),
        ),
        ("method", option(str, f"method: {', '.join(METHODS)}, or your own as module:Class"), method),
        ("selector", option(str, f"selector: {', '.join(SELECTORS)}, or your own as module:Class"), selector),
        ("protocol", option(str, f"what the settings below start from: {', '.join(PROTOCOLS)}"), "small"),
        ("config", option(str | None, "a run folder whose settings to start from instead", metavar="FOLDER"), None),
        ("seed", option(int, "seed of everything drawn"), saved.get("seed", 0)),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "run folder; None makes a name under runs/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a run that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        ("dry_run", option(bool, "tell what it will take in time and memory, and stop"), False),
        (
            "diagnose",
            option(bool, "log gradient diagnostics (Single-DARTS, figures 2 and 3)"),
            saved.get("diagnose", False),
        ),
        ("shared", Annotated[type(protocol), arg(name="")], protocol),
        ("own", Annotated[type(settings), arg(name="")], settings),
        ("select", type(select), select),
        ("execution", Annotated[Execution, arg(name="")], _saved_execution(saved)),
        ("network", Annotated[Network, arg(name="")], network),
    ]
    return make_dataclass("Search", fields, namespace={"__doc__": "Search for an architecture."})
