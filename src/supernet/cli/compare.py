"""`supernet compare`."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from supernet.cli.after import show_line, show_next
from supernet.cli.parsing import Arguments, option, parse, peek
from supernet.errors import UserError, names_given

if TYPE_CHECKING:
    from supernet.searching.compare.config import ComparisonConfig

ABOUT = "Compare methods over seeds and settings. Every option of supernet search is a setting of all searches."
_REPEATED = "--axis"
_OWN = {
    "methods": str,
    "seeds": str,
    "budget": str,
    "baseline": str,
    "retrain": str,
    "retrainings": int,
    "workers": int,
    "on": str,
    "out": str,
    "status": bool,
    "retry_failed": bool,
    "quiet": bool,
}


def compare(given: Arguments) -> None:
    """Run a comparison, or say how far one has come."""
    from supernet.report.console import Console, line
    from supernet.searching.compare import config as configs
    from supernet.searching.compare.commands import going_on
    from supernet.searching.compare.comparing import start
    from supernet.searching.compare.comparison import Comparison

    own, settings, axes = _sorted(given)
    call = vars(parse("compare", _arguments(), own))
    typed = _typed(call, settings, axes)
    target, console = Path(call["target"]), Console()
    place = Path(call["out"] or target)
    goes_on = (target / configs.FILE).exists() and place.resolve() == target.resolve()
    if call["status"]:
        found = Comparison.read(place)
        _check_published(found.record.config, typed)
        for text in found.status(call["workers"] or 1):
            line(console, text)
        return
    config = _config(call["target"], typed, goes_on=goes_on)
    again = {name: call[name] for name in ("workers", "retry_failed", "quiet")} | {"on": call["on"] or "local"}
    found = start(config, target if goes_on else call["out"], **again)
    line(console, found.table())
    line(console, f"comparison    {found.path} (report.html, table.md, table.csv, results.json)")
    best = found.best
    if best is not None:
        line(console, f"best          {best.path} (on the validation images)")
    failed = sum(state.state == "failed" for state in found.states)
    if failed:
        raise UserError(f"{failed} of {len(found.jobs)} runs failed: the same command with --retry-failed tries again")
    if call["quiet"]:
        return
    if best is None:
        show_line(console, shlex.join([*going_on(found.record.config, found.path), "--status"]))
    else:
        show_next(console, "compare", best.path)


def _sorted(given: Arguments) -> tuple[list[str], dict[str, Any], dict[str, list[Any]]]:
    """Return the words of this command, the settings of the searches, and the axes."""
    from supernet.searching.compare.config import axis_of

    words, own, settings, axes = list(given), list[str](), dict[str, Any](), dict[str, list[Any]]()
    kinds: dict[str, set[type]] = {}
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        follows = bool(words) and not words[0].startswith("--")
        if not flag.startswith("--") or flag in ("--help", "--help-all") or name in _OWN:
            takes = flag.startswith("--") and not equals and _OWN.get(name, bool) is not bool and follows
            own += [word, *([words.pop(0)] if takes else [])]
        elif flag == _REPEATED:
            text = value if equals else words.pop(0) if follows else ""
            setting, values = axis_of(text)
            if setting in axes:
                raise UserError(f"axis '{setting}' is given twice: give all its values in one --axis")
            kinds = kinds or _kinds(given)
            axes[setting] = [_several(each, kinds.get(setting, set())) for each in values]
        else:
            kinds = kinds or _kinds(given)
            setting, typed = (name, _value([value], kinds.get(name, set()))) if equals else _setting(name, words, kinds)
            settings[setting] = typed
    return own, settings, axes


def _several(text: str, kinds: Collection[type]) -> Any:
    """Return a value of an axis; one of a setting of several values has them with spaces between them."""
    return _value((list in kinds and text.split()) or [text], kinds)


def _value(words: Sequence[str], kinds: Collection[type]) -> Any:
    """Return the value that is typed as `words`, of a setting whose usual values are of `kinds`."""
    from supernet.searching.compare.config import scalar

    values = [scalar(word) for word in words]
    return values if values[1:] or {*kinds} == {list} else values[0]


def _setting(name: str, words: list[str], kinds: Mapping[str, Collection[type]]) -> tuple[str, Any]:
    """Return a setting by its name in a config, and its value, whose words are taken off the front of `words`.

    A switch has no value, and a setting of several values takes all words up to the next option.
    """
    parent, _, last = name.rpartition(".")
    off = last.startswith("no_") and last != "no_graphs"
    switch = ".".join(part for part in (parent, last.removeprefix("no_") if off else last) if part)
    end = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    found = kinds.get(switch, ())
    if not end or bool in found:
        return switch, not off
    taken = words[: end if list in found else 1]
    del words[: len(taken)]
    return name, _value(taken, found)


def _kinds(given: Arguments) -> dict[str, set[type]]:
    """Return the types of what settings have where none is given: of the methods that are typed, or of all."""
    from supernet.methods import METHODS
    from supernet.searching.compare.cases import usual_settings
    from supernet.searching.compare.config import import_named

    found: dict[str, set[type]] = {"graphs": {bool}, "no_graphs": {bool}}
    methods = names_given("methods", peek(given, "methods", "")) or list(METHODS)
    import_named(methods, {"selector": peek(given, "selector", None)}, {})
    for method, _, selector in (entry.partition("+") for entry in methods):
        for each in {selector or None, peek(given, "selector", None)}:
            for name, value in usual_settings(method, {"selector": each}).items():
                found.setdefault(name, set()).add(type(value))
    return found


def _typed(call: dict[str, Any], settings: dict[str, Any], axes: dict[str, list[Any]]) -> dict[str, Any]:
    """Return what was typed, by the fields of ComparisonConfig; the user's own modules that it names are imported."""
    from supernet.searching.compare.config import ComparisonConfig, import_named, seeds_of

    typed = {entry.name: call[entry.name] for entry in fields(ComparisonConfig) if call.get(entry.name) is not None}
    if "methods" in typed:
        typed["methods"] = names_given("methods", typed["methods"])
    if "seeds" in typed:
        typed["seeds"] = seeds_of(typed["seeds"])
    import_named(typed.get("methods", []), settings, axes)
    return typed | {"axes": axes, "settings": settings}


def _check_published(there: ComparisonConfig, typed: dict[str, Any]) -> None:
    """Raise UserError if a file names code of a user's own that is not typed, too."""
    from supernet.searching.compare.config import check_published
    from supernet.settings import amend

    check_published(there, amend(there, {"methods": ["random"]} | typed))


def _config(data: str, typed: dict[str, Any], *, goes_on: bool) -> ComparisonConfig:
    """Return the config of a file or a folder, or the default one of images, with what was typed.

    One that `goes_on` in its folder gets it in addition; elsewhere it takes the place of what is there.
    """
    from supernet.searching.compare import config as configs
    from supernet.searching.compare.joining import narrowed
    from supernet.settings import amend

    target = Path(data)
    if record := configs.load(target):
        start = record.config
    elif target.suffix in (".yaml", ".yml", ".json"):
        start = configs.read(target)
    else:
        start = configs.ComparisonConfig(data)
    _check_published(start, typed)
    if not goes_on and "methods" in typed:
        start = narrowed(start, typed["methods"])
    return amend(start, typed | _joined(start, typed, replace=not goes_on))


def _joined(start: ComparisonConfig, typed: dict[str, Any], *, replace: bool) -> dict[str, dict[str, Any]]:
    """Return the axes and the settings of a config and of what was typed.

    With `replace`, a typed axis takes the place of a setting of the same name, and a typed setting that of an axis.
    """
    found = {}
    for name, other in (("axes", "settings"), ("settings", "axes")):
        kept = {key: value for key, value in getattr(start, name).items() if not (replace and key in typed[other])}
        found[name] = kept | typed[name]
    return found


def _arguments() -> type:
    """Return the typed arguments of `compare`; those of the searches are taken out before."""
    about = {
        "methods": ("methods, as darts,darts+perturbation: the latter selects by another selector", "NAMES"),
        "seeds": ("seeds of each, as 0-4 or 0,3", "SEEDS"),
        "budget": ("passes (those of the first method), passes=N, seconds=S, or epochs (as many for each)", "BUDGET"),
        "baseline": ("row that the others are compared with; None is the first", "NAME"),
        "retrain": ("recipe by which what was found is retrained", "RECIPE"),
        "retrainings": ("retrainings of each", "INT"),
        "workers": ("runs at a time; None is as many as cores, GPUs and memory allow", "INT"),
        "on": ("local, this machine, which is the default, or ray, the Ray cluster that runs", "PLACE"),
        "out": ("folder of the comparison; None is the one typed, or makes a name under comparisons/", "FOLDER"),
        "status": ("say what has run, runs, is left and has failed, and stop", ""),
        "retry_failed": ("try what has failed again", ""),
        "quiet": ("no progress", ""),
    }
    target = "images as for search, a .yaml file of a comparison, or a comparison's folder"
    entries: list[Any] = [("target", option(Positional[str], target, metavar="DATA"))]
    for name, kind in _OWN.items():
        text, metavar = about[name]
        if kind is bool:
            entries.append((name, option(bool, text), False))
        else:
            entries.append((name, option(kind | None, text, metavar=metavar), None))
    entries.append(("axis", option(str | None, "values of a setting, as alpha.lr=0.001,0.005; may repeat"), None))
    return make_dataclass("Compare", entries, namespace={"__doc__": ABOUT})
