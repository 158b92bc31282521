"""`supernet search`."""

from __future__ import annotations

import sys
from dataclasses import make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from supernet.cli.parsing import Arguments, parse, peek
from supernet.errors import UserError

if TYPE_CHECKING:
    from supernet.config import Protocol


def search(given: Arguments) -> None:
    """Search for an architecture."""
    from supernet import config, methods, screen, searching, show
    from supernet import plan as planning

    sys.path.insert(0, "")  # --method module:Class may be a module of the current folder
    saved = _saved_config(peek(given, "config", None))
    method = methods.method(peek(given, "method", saved.get("method", "single-darts")))
    protocol = config.protocol(peek(given, "protocol", "small"))
    settings = planning.method_settings(method)
    if saved:
        protocol = config.amend(protocol, saved["protocol"])
        settings = config.amend(settings, saved["settings"] if saved["method"] == method.name else {})
    chosen = parse("search", _search_arguments(protocol, settings, method.name, saved), given)
    plan = planning.plan(
        chosen.data,
        space=chosen.space,
        method=method.name,
        selector=chosen.selector,
        protocol=chosen.shared,
        settings=chosen.own,
        seed=chosen.seed,
        device=chosen.device,
        diagnose=chosen.diagnose,
    )
    run = searching.start(plan, out=chosen.out, force=chosen.force, watcher=screen.watcher(quiet=chosen.quiet))
    show.result(show.Screen(), run)


def _saved_config(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    from pathlib import Path

    from supernet.run import Run

    path = Path(file)
    saved = Run(path.parent if path.name == "config.yaml" else path).config
    if not saved.keys() >= {"source", "space", "method", "seed", "protocol", "settings"}:
        raise UserError(f"--config '{file}': no such run folder, or no config.yaml of a run in it")
    return saved


def _search_arguments(protocol: Protocol, settings: Any, method: str, saved: dict[str, Any]) -> type:
    """Make the typed arguments of `search`: what every search has, the protocol's fields and the method's."""
    from supernet.methods import METHODS
    from supernet.spaces import SPACES

    own = saved if saved.get("method") == method else {}

    def option(kind: Any, about: str, **more: Any) -> Any:
        return Annotated[kind, arg(help=about, **more)]

    data = option(Positional[str], "digits (embedded), an .npz file, or a folder of class folders", metavar="DATA")
    fields: list[Any] = [
        ("data", data, saved["source"]) if saved else ("data", data),
        ("space", option(str, f"search space: {', '.join(SPACES)}"), saved.get("space", "nasbench201")),
        ("method", option(str, f"method: {', '.join(METHODS)}, or your own as module:Class"), method),
        ("selector", option(str | None, "selector; None is the method's own", metavar="STR"), own.get("selector")),
        ("protocol", option(str, "small or nasbench201: what the settings below start from"), "small"),
        ("config", option(str | None, "a run folder whose settings to start from instead", metavar="FOLDER"), None),
        ("seed", option(int, "seed of everything drawn"), saved.get("seed", 0)),
        ("device", option(str, "auto, cpu, cuda, cuda:1, ..."), "auto"),
        ("out", option(str | None, "run folder; None makes a name under runs/", metavar="FOLDER"), None),
        ("force", option(bool, "start over a run that is there"), False),
        ("quiet", option(bool, "no progress"), False),
        (
            "diagnose",
            option(bool, "log gradient diagnostics (Single-DARTS, figures 2 and 3)"),
            saved.get("diagnose", False),
        ),
        ("shared", Annotated[type(protocol), arg(name="")], protocol),
        ("own", Annotated[type(settings), arg(name="")], settings),
    ]
    return make_dataclass("Search", fields, namespace={"__doc__": "Search for an architecture."})
